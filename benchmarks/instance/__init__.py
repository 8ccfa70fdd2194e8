"""Measures a Dagster instance with as many shards as a large data set: `uv run python -m benchmarks.instance`."""
