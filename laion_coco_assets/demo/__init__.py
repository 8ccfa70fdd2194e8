"""The embedded demo: a drawn corpus, a loopback server for it, and tiny models trained on it."""
