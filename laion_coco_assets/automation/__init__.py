"""What runs by itself: the sensor that registers shards, the schedule that works through them."""
