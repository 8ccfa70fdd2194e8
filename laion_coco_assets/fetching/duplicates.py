"""Which URLs a shard has had already, and in which rows."""

from hashlib import blake2b


class SeenUrls:
    """Rows by URL, for one shard, about 100 bytes each. Give it the rows of an earlier run, in order, to resume one."""

    def __init__(self) -> None:
        self._first: dict[int, int] = {}
        self._rows = 0

    def add(self, url: str | None) -> int | None:
        """Counts one row. The number, from 0, of the row that had this URL first, or None if this is the first.

        URLs are compared as text, without surrounding blanks and fragment: two spellings of one URL are both requested,
        but no URL is ever taken for another one. Rows without a URL are never duplicates.
        """
        row = self._rows
        self._rows += 1
        bare = (url or "").strip().partition("#")[0]
        if not bare:
            return None
        key = int.from_bytes(blake2b(bare.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        first = self._first.setdefault(key, row)
        return None if first == row else first


class SampleIds:
    """The sample_ids of a shard's rows by number, 16 bytes each."""

    def __init__(self) -> None:
        self._ids = bytearray()

    def append(self, sample_id: str) -> None:
        """The next row's; 32 hex digits."""
        self._ids += bytes.fromhex(sample_id)

    def __getitem__(self, row: int) -> str:
        return self._ids[16 * row : 16 * (row + 1)].hex()
