"""`laion-coco`: the same assets and checks at a terminal."""
