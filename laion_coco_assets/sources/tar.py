"""Source shards that are WebDataset tars, as img2dataset writes them."""

import tarfile
from collections.abc import Iterable, Iterator
from itertools import groupby

from laion_coco_assets.errors import SourceError
from laion_coco_assets.sources.samples import MAX_TEXT_BYTES, PICTURES, TEXTS, Sample, SampleShard
from laion_coco_assets.sources.tar_members import members, open_tar, read_member, require_end

#: A file of the tar: its extension, and its header.
_File = tuple[str, tarfile.TarInfo]


class TarShard(SampleShard):
    """A WebDataset tar. Consecutive members with the same name up to the first dot are a sample.

    If there are several images of that name, each is a sample, with the same texts, as in a folder.
    """

    suffixes = (".tar",)
    description = "WebDataset tars, as img2dataset writes them, which hold the images"

    def samples(self, max_bytes: int) -> Iterator[Sample]:
        """See `SampleShard.samples`."""
        try:
            with self.path.open("rb") as stream, open_tar(stream) as tar:
                files = ((*_split(member.name), member) for member in members(tar) if member.isfile())
                for key, group in groupby(files, lambda file: file[0]):
                    if not key.rpartition("/")[2].startswith("__"):  # metadata, by WebDataset's convention
                        yield from self._samples_of(tar, key, ((ext, member) for _, ext, member in group), max_bytes)
                require_end(stream, tar.offset)
        except (tarfile.TarError, EOFError, OSError, ValueError) as error:
            raise SourceError(f"{self.path}: not a whole tar file: {error}") from None

    def _samples_of(self, tar: tarfile.TarFile, key: str, files: Iterable[_File], max_bytes: int) -> Iterator[Sample]:
        sample = Sample(f"{self.path.name}/{key}")
        further_images = []  # read when it is their turn: one image at a time is in memory
        for extension, member in files:
            if extension in PICTURES and sample.image is not None:
                further_images.append(member)
            elif extension in PICTURES:
                sample.name = f"{self.path.name}/{member.name}"
                sample.image = read_member(tar, member, max_bytes)
            elif extension in TEXTS:
                sample.texts[extension] = read_member(tar, member, MAX_TEXT_BYTES)
        yield sample
        for member in further_images:
            name = f"{self.path.name}/{member.name}"
            yield Sample(name, read_member(tar, member, max_bytes), sample.texts)


def _split(name: str) -> tuple[str, str]:
    """Key and extension by WebDataset's rule: the folder and the base name up to its first dot, and the rest."""
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return f"{folder}{slash}{stem}", extension.lower()
