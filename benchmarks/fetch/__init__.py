"""Measures the fetcher against img2dataset, over servers on loopback: `uv run python -m benchmarks.fetch`."""
