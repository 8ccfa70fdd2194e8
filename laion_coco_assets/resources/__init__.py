"""What Dagster injects into the assets: models on a device, the fetcher, the shard store."""
