"""Makes and measures the demo's models: `uv run python -m tools.demo.train`, `uv run python -m tools.demo.measure`."""
