"""Ways to look at the output: the page of examples, histograms. Knows nothing of Dagster."""
