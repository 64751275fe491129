"""Run campaigns: plan units, attack images of shards on Ray workers, keep checkpoints, write Parquet; the `barrage` command."""
