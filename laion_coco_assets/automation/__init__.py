"""What runs by itself: the sensor that registers shards, the schedules that work through them and ask again."""
