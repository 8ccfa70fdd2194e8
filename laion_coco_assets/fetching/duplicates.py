"""Which URLs a shard has had already."""

from hashlib import blake2b


class SeenUrls:
    """Rows by URL, for one shard, about 100 bytes each. Give it the rows of an earlier run, in order, to resume one."""

    def __init__(self) -> None:
        self._first: dict[int, int] = {}
        self._rows = 0

    def add(self, url: str | None) -> int | None:
        """Counts one row. The number, from 0, of the row that had this URL first, or None if this is the first.

        URLs are compared as text less surrounding blanks and fragment: two spellings of one URL are asked for twice,
        as before they were, but never is one taken for another. Rows without a URL are never duplicates.
        """
        row = self._rows
        self._rows += 1
        bare = (url or "").strip().partition("#")[0]
        if not bare:
            return None
        key = int.from_bytes(blake2b(bare.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        first = self._first.setdefault(key, row)
        return None if first == row else first
