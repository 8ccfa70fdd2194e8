"""The engine: BLIP sampling and CLIP scoring. Knows nothing of Dagster or of files other than model weights."""
