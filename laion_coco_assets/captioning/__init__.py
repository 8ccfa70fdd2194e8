"""The engine: BLIP sampling and CLIP scoring. It knows nothing of Dagster, and of files only model weights."""
