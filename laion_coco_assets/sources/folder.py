"""Source shards that are folders of image files."""

import hashlib
from collections.abc import Iterator
from typing import Any

from upath import UPath

from laion_coco_assets.sources.files import content_digest, list_folder, unreadable, version_of
from laion_coco_assets.sources.samples import MAX_TEXT_BYTES, PICTURES, TEXTS, Sample, SampleShard


class FolderShard(SampleShard):
    """A folder of image files, by name. Files of the same stem with `.txt` or `.json` belong to an image.

    Folders in it are not read.
    """

    description = "folders of image files"

    @classmethod
    def takes_folder(cls, folder: UPath) -> bool:
        """Whether there is an image file in the folder."""
        return any(_extension(path.name) in PICTURES for path in folder.iterdir())

    @property
    def version(self) -> str:
        """Number of files, and a digest of what the listing tells of each. Raises SourceError."""
        versions = [(path.name, version_of(info)) for path, info in self._listed()]
        return f"{len(versions)} files {hashlib.sha256(repr(versions).encode()).hexdigest()[:16]}"

    @property
    def digest(self) -> str:
        """Digest of names and contents of the files (32 hex digits). Raises SourceError."""
        digest = hashlib.sha256()
        for path, _ in self._listed():
            digest.update(f"{content_digest(path)} {path.name}\0".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()[:32]

    def samples(self, max_bytes: int) -> Iterator[Sample]:
        """See `SampleShard.samples`."""
        files = {path.name: path for path, _ in self._listed()}
        try:
            for name, path in files.items():
                if _extension(name) not in PICTURES:
                    continue
                stem = name.rpartition(".")[0]
                texts = {text: files[f"{stem}.{text}"] for text in TEXTS if f"{stem}.{text}" in files}
                yield Sample(
                    f"{self.path.name}/{name}",
                    _read_start(path, max_bytes),
                    {text: _read_start(file, MAX_TEXT_BYTES) for text, file in texts.items()},
                )
        except OSError as error:
            raise unreadable(self.path, error) from None

    def _listed(self) -> list[tuple[UPath, dict[str, Any]]]:
        """Images and texts by name, with what the listing tells of each."""
        wanted = PICTURES.union(TEXTS)
        try:
            entries = list_folder(self.path)
        except OSError as error:
            raise unreadable(self.path, error) from None
        return sorted((entry for entry in entries if _extension(entry[0].name) in wanted), key=lambda e: e[0].name)


def _extension(name: str) -> str:
    """What follows the last dot of a file's name, in lower case; empty without a dot."""
    return name.rpartition(".")[2].lower() if "." in name else ""


def _read_start(path: UPath, max_bytes: int) -> bytes:
    with path.open("rb") as stream:
        return bytes(stream.read(max_bytes))
