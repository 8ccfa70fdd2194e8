"""Writes a corpus to disk: its source shards, and the truth about them, which the pipeline must not see."""

import hashlib
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

from laion_coco_assets.demo.corpus import Corpus, DemoSample
from laion_coco_assets.demo.scenes import scene_to_json, true_caption


def _source_table(samples: list[DemoSample]) -> pa.Table:
    rngs = [Random(f"metadata {sample.url} {sample.text}") for sample in samples]
    hashes = [hashlib.sha256(f"{sample.url}\0{sample.text}".encode()).digest()[:8] for sample in samples]
    return pa.table(
        {
            "URL": pa.array([sample.url for sample in samples], pa.string()),
            "TEXT": pa.array([sample.text for sample in samples], pa.string()),
            "WIDTH": pa.array([sample.width for sample in samples], pa.int64()),
            "HEIGHT": pa.array([sample.height for sample in samples], pa.int64()),
            "similarity": pa.array([round(rng.uniform(0.28, 0.42), 6) for rng in rngs], pa.float64()),
            "hash": pa.array([int.from_bytes(key, "big", signed=True) for key in hashes], pa.int64()),
            "pwatermark": pa.array([round(rng.random() ** 3, 6) for rng in rngs], pa.float64()),
            "punsafe": pa.array([round(rng.random() ** 6, 6) for rng in rngs], pa.float64()),
        }
    )


def write_sources(folder: Path, corpus: Corpus) -> list[Path]:
    """Write `demo-00000.parquet`, … with LAION's columns, one file per shard. Returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"demo-{shard:05d}.parquet" for shard in range(corpus.shards)]
    for shard, path in enumerate(paths):
        pq.write_table(_source_table(corpus.shard(shard)), path, compression="snappy")
    return paths


def write_truth(folder: Path, corpus: Corpus) -> Path:
    """Write `truth.parquet`: shard, URL, TEXT, true_caption, expected_reason (null: ok) and scene (JSON) of every row.

    Do not write it into the sources' folder: the pipeline must not see it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown = [sample.scene for sample in corpus.samples]
    table = pa.table(
        {
            "shard": pa.array([f"demo-{sample.shard:05d}" for sample in corpus.samples], pa.string()),
            "URL": pa.array([sample.url for sample in corpus.samples], pa.string()),
            "TEXT": pa.array([sample.text for sample in corpus.samples], pa.string()),
            "true_caption": pa.array([scene and true_caption(scene) for scene in shown], pa.string()),
            "expected_reason": pa.array([sample.expected_reason for sample in corpus.samples], pa.string()),
            "scene": pa.array([scene and scene_to_json(scene) for scene in shown], pa.string()),
        }
    )
    path = folder / "truth.parquet"
    pq.write_table(table, path)
    return path
