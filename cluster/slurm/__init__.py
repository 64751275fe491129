"""Run a campaign as one Slurm job: the launcher, the batch script `campaign.sbatch` and an example cluster file."""

__all__ = ["launcher"]
