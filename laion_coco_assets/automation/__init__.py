"""What runs by itself: the sensor that registers shards, the schedules that make missing ones and fetch failed images again."""
