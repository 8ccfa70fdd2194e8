"""WebDataset tars of what is published, or of what was fetched: each image as it was served, its caption, and its row."""

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
from upath import UPath

from laion_coco_assets.contract.schemas import Stage
from laion_coco_assets.errors import StoreError
from laion_coco_assets.progress import Progress
from laion_coco_assets.store.atomic import atomically
from laion_coco_assets.store.joining import Row, stage_rows
from laion_coco_assets.store.store import ShardStore

#: Raise it when the same stage files make other tars: those made before are then made again.
_VERSION: Final = 1
_SIGNATURE: Final = "laion_coco_assets WebDataset"
_EXTENSIONS: Final = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "AVIF": "avif"}

#: A row, its caption, the format and the bytes of its image.
_Sample = tuple[Row, str, str, bytes]


@dataclass(frozen=True)
class Exported:
    """What came of a shard: `written` is False where its tar was complete and unchanged, or would have no samples."""

    samples: int
    written: bool


def keep_one_stage(target: ShardStore, stage: Stage) -> None:
    """Let no folder hold tars of two stages, whatever their shards: who trains on it could not tell them apart.

    One tar of this command tells for all. What else lies there is in the way of its own shard alone.

    Raises:
        StoreError: the tars there are of another stage, or it can not be told what is there.
    """
    if not target.root.is_dir():
        return
    try:
        tars = sorted((each for each in target.root.iterdir() if each.suffix == ".tar"), key=lambda each: each.name)
    except OSError as error:
        raise StoreError(f"{target.root} can not be read: {error.strerror or error}") from error
    for path in tars:
        try:
            note = _found_note(path)
        except (StoreError, OSError):
            continue
        if note is not None:
            _keep_stage(path, note, stage)
            return


def export_fetched(store: ShardStore, shard: str, target: ShardStore, progress: Progress) -> Exported:
    """Like `export_shard`, of every image that was fetched: `.txt` has TEXT, empty where there is none, `.json` the row.

    Removal lists speak of what is published, and take nothing out here.
    """
    info = store.need(Stage.FETCHED_IMAGES, shard)
    count = sum(row["status"] == "ok" for row in stage_rows(store, Stage.FETCHED_IMAGES, shard, ["status"]))
    note = _note(Stage.FETCHED_IMAGES, f"{info.content} alone")
    return _export(Stage.FETCHED_IMAGES, _fetched(store, shard), count, note, shard, target, progress)


def export_shard(store: ShardStore, shard: str, target: ShardStore, progress: Progress) -> Exported:
    """Write `<target>/<shard>.tar` of a shard's published rows, in their order; it appears at once and whole.

    A sample is `<sample_id>.jpg` (or png, webp, gif, avif), `.txt` with the top caption and `.json` with the row of
    PUBLISHED. The same stage files make the same bytes. What they were is noted in the tar's global header, by which a
    complete and unchanged one is known. A shard with nothing published has no tar, and loses the one it had.

    Raises:
        StoreError: a stage file that is missing, damaged, or not of the images that are there now; a tar of another
            origin or stage in the way; a target that can not be written to.
    """
    published = store.need(Stage.PUBLISHED, shard)
    images = store.need(Stage.FETCHED_IMAGES, shard)
    if published.key.inputs.get(Stage.FETCHED_IMAGES) != images.content:
        raise StoreError(
            f"{store.path(Stage.PUBLISHED, shard)} was made from other images than those there now: "
            f"run shard {shard} again first"
        )
    note = _note(Stage.PUBLISHED, f"{published.content}, fetched_images {images.content}")
    return _export(Stage.PUBLISHED, _published(store, shard), published.rows, note, shard, target, progress)


def _export(
    stage: Stage,
    samples: Iterator[_Sample],
    count: int,
    note: str,
    shard: str,
    target: ShardStore,
    progress: Progress,
) -> Exported:
    path = target.root / f"{shard}.tar"
    try:
        found = _found_note(path)
        if found is not None:
            _keep_stage(path, found, stage)
        if not count:
            path.unlink(missing_ok=True)
        elif found != note:
            progress.start("export", shard, count)
            _write(samples, note, path, progress)
            progress.finish()
            return Exported(count, written=True)
    except OSError as error:
        raise StoreError(f"{path} can not be written: {error.strerror or error}") from error
    return Exported(count, written=False)


def _note(stage: Stage, contents: str) -> str:
    return f"{_SIGNATURE} {_VERSION}: {stage} {contents}"


def _keep_stage(path: UPath, note: str, stage: Stage) -> None:
    made_of = note.partition(": ")[2].partition(" ")[0]
    if made_of != stage:
        raise StoreError(
            f"{path} was made of {made_of}, and a folder holds tars of one stage: "
            f"name another folder for those of {stage}, or delete the tars that are there"
        )


def _found_note(path: UPath) -> str | None:
    """What the tar at `path` was made from; None without one. Raises StoreError for one that is not ours."""
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
    for batch in store.batches(Stage.FETCHED_IMAGES, shard):
        for row, image in zip(batch.drop_columns(["image"]).to_pylist(), batch.column("image"), strict=True):
            if row["status"] == "ok":
                yield row, row["TEXT"] or "", row["format"], image.as_py()


def _published(store: ShardStore, shard: str) -> Iterator[_Sample]:
    """Each published row with its image. Both files are in source order."""
    images = _images(store, shard)
    for row in stage_rows(store, Stage.PUBLISHED, shard):
        for sample_id, format_, image in images:  # goes on behind the last match
            if sample_id == row["sample_id"] and image.is_valid:
                yield row, row["top_caption"], format_, image.as_py()
                break
        else:
            raise StoreError(f"sample {row['sample_id']} is published in shard {shard}, but its image is not there")


def _images(store: ShardStore, shard: str) -> Iterator[tuple[str, str, pa.BinaryScalar]]:
    """Every fetched row's sample_id, format and image, which is copied only when it is asked for."""
    names = ["sample_id", "format", "image"]
    for batch in store.batches(Stage.FETCHED_IMAGES, shard, names):
        sample_ids, formats, images = (batch.column(name) for name in names)
        yield from zip(sample_ids.to_pylist(), formats.to_pylist(), images, strict=True)


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
