"""`laion-coco bench`: measures the engine against two baselines on this machine. No other package depends on it."""
