"""Check whether the attack is strong enough: an honest evaluation's checks, as a campaign of its own on a sample of the images.

Each check is some variants of one cell (`table`) and a judgement of their accuracies (`judgement`). The variants are cells like
any other (`campaign`): the same workers do them, they resume, and their rows are kept in `check/` beside the results. From
these rows `findings` says what was found. `gradients` checks the gradients themselves.
"""

from pipeline.campaigns.check.campaign import BASE, campaign_of, chosen
from pipeline.campaigns.check.findings import Finding, findings, to_json
from pipeline.campaigns.check.gradients import Sample, gradients, hidden, sample
from pipeline.campaigns.check.table import Check, Variant, checks

__all__ = [
    "BASE", "Check", "Finding", "Sample", "Variant", "campaign_of", "checks", "chosen", "findings", "gradients", "hidden",
    "sample", "to_json",
]  # fmt: skip
