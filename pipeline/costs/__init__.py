"""Estimate what a campaign will cost, before it starts: `barrage plan`.

`cell_cost` estimates a cell from a rate, `campaign_cost` gathers the rates and the estimates of a campaign, `quote_text` shows
them. rates.yaml holds rates that were measured earlier.
"""

from pipeline.costs.campaign_cost import Asked, Quote, quote
from pipeline.costs.cell_cost import Bill, Estimate, Rated

__all__ = ["Asked", "Bill", "Estimate", "Quote", "Rated", "quote"]
