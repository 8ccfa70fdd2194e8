"""Makes text from the web safe to print in a terminal."""


def printable(text: str) -> str:
    """The text on one line: runs of whitespace become one space, and control characters are escaped."""
    return harmless(" ".join(text.split()))


def harmless(text: str) -> str:
    """The text with its lines kept and its control characters escaped. It may quote a file or a server."""
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode() for char in text
    )
