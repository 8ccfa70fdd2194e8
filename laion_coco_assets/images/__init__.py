"""Image bytes: what format they are, whether they decode, their hashes. No network here."""
