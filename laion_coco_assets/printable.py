"""Text from the web made safe for a terminal."""


def printable(text: str) -> str:
    """Text from the web as one cell: blanks are one space, and what a terminal would obey is written out."""
    return harmless(" ".join(text.split()))


def harmless(text: str) -> str:
    """Text that may quote a file's or a server's, lines kept: what a terminal would obey is written out."""
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode() for char in text
    )
