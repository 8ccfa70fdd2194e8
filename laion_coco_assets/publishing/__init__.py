"""The published data set: its columns, its ledger, its data card. Knows nothing of Dagster."""
