"""Image bytes: what format they are, whether they decode, their hashes. Nothing here asks a server."""
