"""The corpus is a function of its arguments, shows held-out scenes only, and is written as LAION's shards are."""

from collections import Counter
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from laion_coco_assets.demo.accuracy import is_accurate
from laion_coco_assets.demo.alt_text import alt_text
from laion_coco_assets.demo.behaviours import EXPECTED_REASON, MIX
from laion_coco_assets.demo.corpus import build_corpus
from laion_coco_assets.demo.corpus_files import write_sources, write_truth
from laion_coco_assets.demo.scenes import random_scene, scene_from_json, split_of

REASONS = {
    *("invalid_url", "credentials_in_url", "scheme", "blocked_address", "dns", "refused", "tls", "timeout"),
    *("too_many_redirects", "http_4xx", "rate_limited", "http_5xx", "too_large", "truncated", "opted_out"),
    *("not_an_image", "unsupported_format", "bomb", "too_small", "aspect_ratio", "duplicate_url"),
}


def test_the_same_arguments_give_the_same_corpus() -> None:
    assert build_corpus(60) == build_corpus(60)
    assert build_corpus(60, seed=1) != build_corpus(60, seed=2)


def test_seventy_of_a_hundred_are_images_and_every_failure_occurs() -> None:
    corpus = build_corpus(200)
    assert Counter(sample.behaviour for sample in corpus.samples) == {name: 2 * n for name, n in MIX.items()}
    assert sum(sample.expected_reason is None for sample in corpus.samples) == 140
    reasons = {sample.expected_reason for sample in corpus.samples} - {None}
    assert reasons == {reason for reason in EXPECTED_REASON.values() if reason}
    assert reasons <= REASONS


def test_scenes_are_held_out() -> None:
    assert {split_of(sample.scene) for sample in build_corpus(300).samples if sample.scene} == {"held_out"}


def test_urls_are_distinct_but_for_duplicates_of_an_earlier_row_of_the_shard() -> None:
    corpus = build_corpus(400, shards=3)
    for shard in range(3):
        seen: set[str] = set()
        for sample in corpus.shard(shard):
            assert (sample.url in seen) == (sample.behaviour == "duplicate")
            seen.add(sample.url)
    originals = [sample.url for sample in corpus.samples if sample.behaviour != "duplicate"]
    assert len(set(originals)) == len(originals)


@pytest.mark.parametrize(("samples", "shards"), [(1, 1), (5, 2), (17, 4), (240, 2)])
def test_shards_share_the_samples_evenly(samples: int, shards: int) -> None:
    sizes = [len(build_corpus(samples, shards).shard(number)) for number in range(shards)]
    assert sum(sizes) == samples
    assert max(sizes) - min(sizes) <= 1


def test_fewer_samples_than_shards_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample a shard"):
        build_corpus(1, shards=2)


def test_sources_have_laions_columns_and_nothing_of_the_truth(tmp_path: Path) -> None:
    corpus = build_corpus(50)
    paths = write_sources(tmp_path / "sources", corpus)
    assert [path.name for path in paths] == ["demo-00000.parquet", "demo-00001.parquet"]
    table = pa.concat_tables([pq.read_table(path) for path in paths])
    assert table.schema.remove_metadata() == pa.schema(
        {
            "URL": pa.string(),
            "TEXT": pa.string(),
            "WIDTH": pa.int64(),
            "HEIGHT": pa.int64(),
            "similarity": pa.float64(),
            "hash": pa.int64(),
            "pwatermark": pa.float64(),
            "punsafe": pa.float64(),
        }
    )
    assert table["URL"].to_pylist() == [sample.url for sample in corpus.samples]


def test_the_truth_tells_an_accurate_caption_for_every_image(tmp_path: Path) -> None:
    corpus = build_corpus(50)
    rows = pq.read_table(write_truth(tmp_path, corpus)).to_pylist()
    assert [(row["URL"], row["TEXT"]) for row in rows] == [(sample.url, sample.text) for sample in corpus.samples]
    for row, sample in zip(rows, corpus.samples, strict=True):
        assert row["expected_reason"] == sample.expected_reason
        if row["expected_reason"] is None:
            assert scene_from_json(row["scene"]) == sample.scene
            assert is_accurate(row["true_caption"], scene_from_json(row["scene"]))


def test_alt_texts_are_deterministic_mostly_poor_and_sometimes_good() -> None:
    scenes = [random_scene(Random(number)) for number in range(600)]
    texts = [alt_text(scene, Random(number)) for number, scene in enumerate(scenes)]
    assert texts == [alt_text(scene, Random(number)) for number, scene in enumerate(scenes)]
    good = sum(is_accurate(text, scene) for text, scene in zip(texts, scenes, strict=True)) / len(texts)
    assert 0.05 < good < 0.25
    assert "" in texts
    assert any(not text.isascii() for text in texts)
