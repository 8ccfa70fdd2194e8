"""The id of a sample: a hash of its URL and its alt text."""

import hashlib


def sample_id(url: str | None, text: str | None) -> str:
    """First 128 bits, hex, of SHA-256 over URL, NUL, TEXT: what joins every output of every run."""
    material = (url or "").encode() + b"\0" + (text or "").encode()
    return hashlib.sha256(material).hexdigest()[:32]
