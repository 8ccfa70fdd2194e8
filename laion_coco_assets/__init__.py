"""Recaption URL shards the way LAION-COCO was made, as a Dagster project."""
