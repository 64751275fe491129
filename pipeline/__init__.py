"""Campaigns: plan, workers on Ray, shards in, checkpoints, Parquet out, tables, and the `barrage` command."""
