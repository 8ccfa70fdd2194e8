"""Stage files of a data folder: reading, writing whole, resuming, locking, deleting. Nothing here knows Dagster or models."""
