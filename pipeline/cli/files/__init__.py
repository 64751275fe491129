"""Hold the commands that make files that no campaign has to run for: shards and pictures."""
