"""The embedded corpus, its loopback server, and the tiny models trained on it."""
