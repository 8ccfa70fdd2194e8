"""Benchmarks for developers, run from a checkout: the fetcher, and Dagster with many shards. Not part of the wheel."""
