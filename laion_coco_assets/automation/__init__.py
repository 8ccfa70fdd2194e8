"""What runs by itself: new source shards become partitions."""
