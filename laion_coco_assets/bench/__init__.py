"""`laion-coco bench`: the engine against two baselines, on this machine. Nothing of the product depends on it."""
