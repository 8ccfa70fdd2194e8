"""Stage files of a data folder: read, written whole, resumed, locked, deleted. Knows nothing of Dagster or models."""
