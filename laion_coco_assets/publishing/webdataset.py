"""WebDataset tars of what is published, or of what was fetched: each image as it was served, its caption, and its row."""

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from upath import UPath

from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.errors import StoreError
from laion_coco_assets.progress import Progress
from laion_coco_assets.publishing.published_images import join_images
from laion_coco_assets.store.atomic import atomically
from laion_coco_assets.store.joining import Row, stage_rows
from laion_coco_assets.store.store import ShardStore

#: Raise it when the same stage files give other tars. Older tars are then made again.
_VERSION: Final = 1
_SIGNATURE: Final = "laion_coco_assets WebDataset"
_EXTENSIONS: Final = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "AVIF": "avif"}

#: A row, its caption, the format and the bytes of its image.
_Sample = tuple[Row, str, str, bytes]


@dataclass(frozen=True)
class Exported:
    """What became of a shard. `written` is False if its tar was complete and unchanged, or would have no samples."""

    samples: int
    written: bool


def keep_one_stage(target: ShardStore, stage: StageName) -> None:
    """Refuse a folder with tars of another stage, whatever their shards: users could not tell them apart.

    The first tar that this command wrote decides. Other files only matter to the shard whose tar has their name.

    Raises:
        StoreError: the existing tars are of another stage, or the folder cannot be read.
    """
    if not target.root.is_dir():
        return
    try:
        tars = sorted((path for path in target.root.iterdir() if path.suffix == ".tar"), key=lambda path: path.name)
    except OSError as error:
        raise StoreError(f"{target.root} cannot be read: {error.strerror or error}") from error
    for path in tars:
        try:
            note = _existing_note(path)
        except (StoreError, OSError):
            continue
        if note is not None:
            _keep_stage(path, note, stage)
            return


def export_fetched(store: ShardStore, shard: str, target: ShardStore, progress: Progress) -> Exported:
    """Like `export_shard`, of every image that was fetched: `.txt` has TEXT, empty where there is none, `.json` the row.

    Removal lists apply to what is published. They take nothing out here.
    """
    info = store.need(StageName.FETCHED_IMAGES, shard)
    count = sum(row["status"] == "ok" for row in stage_rows(store, StageName.FETCHED_IMAGES, shard, ["status"]))
    note = _note(StageName.FETCHED_IMAGES, f"{info.content} alone")
    return _export(StageName.FETCHED_IMAGES, _fetched(store, shard), count, note, shard, target, progress)


def export_shard(store: ShardStore, shard: str, target: ShardStore, progress: Progress) -> Exported:
    """Write `<target>/<shard>.tar` of a shard's published rows, in their order. It appears complete or not at all.

    A sample is `<sample_id>.jpg` (or png, webp, gif, avif), `.txt` with the top caption and `.json` with the row of
    PUBLISHED. The same stage files give the same bytes. The tar's global header records their contents, so a complete
    and unchanged tar is recognised. A shard without published rows has no tar: an existing one is deleted.

    Raises:
        StoreError: a stage file is missing, damaged, or made from other images than the existing ones; a tar of another
            origin or stage is in the way; or the target cannot be written to.
    """
    published = store.need(StageName.PUBLISHED, shard)
    images = store.need(StageName.FETCHED_IMAGES, shard)
    if published.key.inputs.get(StageName.FETCHED_IMAGES) != images.content:
        raise StoreError(
            f"{store.path(StageName.PUBLISHED, shard)} was made from other images than the existing ones: "
            f"run shard {shard} again first"
        )
    note = _note(StageName.PUBLISHED, f"{published.content}, fetched_images {images.content}")
    return _export(StageName.PUBLISHED, _published(store, shard), published.rows, note, shard, target, progress)


def _export(
    stage: StageName,
    samples: Iterator[_Sample],
    count: int,
    note: str,
    shard: str,
    target: ShardStore,
    progress: Progress,
) -> Exported:
    path = target.root / f"{shard}.tar"
    try:
        existing = _existing_note(path)
        if existing is not None:
            _keep_stage(path, existing, stage)
        if not count:
            path.unlink(missing_ok=True)
        elif existing != note:
            progress.start("export", shard, count)
            _write(samples, note, path, progress)
            progress.finish()
            return Exported(count, written=True)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error
    return Exported(count, written=False)


def _note(stage: StageName, contents: str) -> str:
    return f"{_SIGNATURE} {_VERSION}: {stage} {contents}"


def _keep_stage(path: UPath, note: str, stage: StageName) -> None:
    made_of = note.partition(": ")[2].partition(" ")[0]
    if made_of != stage:
        raise StoreError(
            f"{path} was made from {made_of}, and a folder holds tars of one stage: "
            f"name another folder for those of {stage}, or delete the existing tars"
        )


def _existing_note(path: UPath) -> str | None:
    """The note of the tar at `path`; None without a tar. Raises StoreError if this command did not write the file."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            note = tar.pax_headers.get("comment", "")
    except tarfile.TarError:
        note = ""
    if not note.startswith(_SIGNATURE):
        raise StoreError(f"{path} was not written by this command: move it away, or name another folder")
    return note


def _fetched(store: ShardStore, shard: str) -> Iterator[_Sample]:
    for batch in store.batches(StageName.FETCHED_IMAGES, shard):
        for row, image in zip(batch.drop_columns(["image"]).to_pylist(), batch.column("image"), strict=True):
            if row["status"] == "ok":
                yield row, row["TEXT"] or "", row["format"], image.as_py()


def _published(store: ShardStore, shard: str) -> Iterator[_Sample]:
    return ((row, row["top_caption"], format_, image) for row, format_, image in join_images(store, shard))


def _write(samples: Iterator[_Sample], note: str, path: UPath, progress: Progress) -> None:
    headers = {"comment": note}
    with atomically(path) as local, tarfile.open(local, "w", format=tarfile.PAX_FORMAT, pax_headers=headers) as tar:
        for row, caption, format_, image in samples:
            name = row["sample_id"]
            _add(tar, f"{name}.{_EXTENSIONS[format_]}", image)
            _add(tar, f"{name}.txt", caption.encode())
            _add(tar, f"{name}.json", json.dumps(row, ensure_ascii=False).encode())
            progress.advance(1)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # no dates, no owners: the bytes follow from the content alone
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
