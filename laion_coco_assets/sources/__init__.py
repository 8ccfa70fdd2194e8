"""Source shards: rows of one schema from parquet, tars or folders, with the images where the source brings them."""
