"""Run a campaign on its store, and prove what it stored.

A run is a line. `prepare` checks the campaign and fills in what it leaves open. `job` says what is planned and what is left;
`record` is what the store keeps of it, `compare` and `definition_versions` refuse changes. `measuring` finds the rates from
which units are cut. `next_units` says which units may be handed out, as the interim checks of `stop_rule` allow. `worker` does
them; `image_rows` makes the rows. `parking` sets aside those that fail. `run` is the driver. `verification/` proves what a
store says, `check/` tests whether an attack is strong enough.
"""

from pipeline.campaigns.job import Job, opened
from pipeline.campaigns.prepare import prepare, resolve
from pipeline.campaigns.run import run
from pipeline.campaigns.worker import attacking

__all__ = ["Job", "attacking", "opened", "prepare", "resolve", "run"]
