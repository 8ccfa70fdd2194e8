"""What a shard is on disk: its source, schemas, profile, fingerprints and the store. Knows nothing of Dagster or models."""
