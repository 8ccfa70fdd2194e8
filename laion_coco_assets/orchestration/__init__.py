"""Where Dagster meets the stages: declaring assets, going over a run's shards, checks, events, retries."""
