"""Images over HTTP: every URL ends as image bytes or as one reason of a closed list. Knows nothing of Dagster."""
