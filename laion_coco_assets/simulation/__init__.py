"""A Dagster instance with as many shards as a data set has, to see how it behaves at that size; no part of production."""
