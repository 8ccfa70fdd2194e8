"""Source shards: rows of one schema from parquet, a tar or a folder, with the images where the source has them."""
