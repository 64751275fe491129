"""Run a campaign on its store, and prove what it stored.

`prepare` checks the campaign and fills in its missing settings. `job` lists what is planned and what is left; `record` keeps it
in the store, and `compare` refuses changes. `measuring` finds the rates from which units are cut. `next_units` lists the units
that may be handed out, as the interim checks of `stop_rule` allow. `worker` does them, by `attempt/`.
`parking` keeps units that fail. `run` is the driver. `verification/` checks what a store holds, `check/` tests whether an
attack is strong enough.
"""

from pipeline.campaigns.job import Job, opened
from pipeline.campaigns.prepare import prepare, resolve
from pipeline.campaigns.run import run
from pipeline.campaigns.worker import attacking

__all__ = ["Job", "attacking", "opened", "prepare", "resolve", "run"]
