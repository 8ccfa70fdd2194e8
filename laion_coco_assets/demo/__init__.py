"""The embedded demo: a drawn corpus, its loopback server, and tiny models trained on it."""
