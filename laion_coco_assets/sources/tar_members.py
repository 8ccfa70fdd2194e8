"""Reading tars that may be damaged or hostile: in bounded memory, always forward, and to a proper end."""

import tarfile
from collections.abc import Iterator
from typing import IO, Final, Self

#: Longest header of another kind than a file's, such as a long name; tarfile reads it into memory whole.
_MAX_HEADER_BYTES: Final = 1 << 20
_READ_BYTES: Final = 1 << 20


def open_tar(stream: IO[bytes]) -> tarfile.TarFile:
    """An uncompressed tar. Raises TarError."""
    return tarfile.open(fileobj=stream, mode="r:", tarinfo=_Header)


def members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members in order. None is kept in memory: tarfile itself would keep all. Raises TarError."""
    while (member := tar.next()) is not None:
        tar.members = []  # type: ignore[attr-defined]  # documented by its uses alone
        if member.size < 0:  # by an extended header: the next member would be an earlier one, for ever (CVE-2025-8194)
            raise tarfile.ReadError(f"{member.name!r} has {member.size} bytes")
        yield member


def read_member(tar: tarfile.TarFile, member: tarfile.TarInfo, max_bytes: int) -> bytes:
    """The first `max_bytes` bytes of a member. Raises TarError or OSError."""
    stream = tar.extractfile(member)
    return b"" if stream is None else stream.read(min(max_bytes, member.size))


def require_end(stream: IO[bytes], offset: int) -> None:
    """Raises ReadError unless the archive ends at `offset`: tarfile takes a damaged or missing header for the end."""
    stream.seek(offset)
    block = stream.read(tarfile.BLOCKSIZE)
    is_whole = len(block) == tarfile.BLOCKSIZE
    while block and not any(block):
        block = stream.read(_READ_BYTES)
    if block or not is_whole:
        raise tarfile.ReadError(f"neither a member nor the end of the archive at byte {offset}")


class _Header(tarfile.TarInfo):
    """A member's header. Refused if its size would lead backwards, or read all of a large header into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """As tarfile calls it; raises HeaderError."""
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type not in tarfile.REGULAR_TYPES and header.size > _MAX_HEADER_BYTES):
            raise tarfile.HeaderError(f"a header gives a size of {header.size} bytes")
        return header
