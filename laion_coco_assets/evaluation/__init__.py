"""Looking at what came out: the page of examples. Knows nothing of Dagster."""
