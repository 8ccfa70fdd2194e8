"""The page of examples shows what was published, loads nothing, and text from the web stays text."""

import hashlib
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.evaluation.examples import published_images
from laion_coco_assets.evaluation.gallery import gallery
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.conftest import DemoRun, run_demo_shards

RANKERS = ("one", "two")
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def test_every_sample_has_its_picture_captions_and_scores(demo: DemoRun) -> None:
    page = gallery(demo.store, demo.shards, title="t", intro="i", rankers=RANKERS, samples=6, notes={})
    assert page.count("<article>") == page.count("data:image/jpeg;base64,") == 6
    first = next(stage_rows(demo.store, StageName.PUBLISHED, demo.shards[0]))
    assert first["top_caption"] in page
    assert f"{first['all_similarities'][0]:.3f}" in page
    published = sum(demo.store.need(StageName.PUBLISHED, shard).rows for shard in demo.shards)
    assert f"This page shows 6 of {published} published samples." in page
    assert page.count('<th class="n">one</th><th class="n">two</th>') == 6
    assert f"{first['final_similarities'][0]:.3f}" in page


def test_with_one_ranker_there_is_no_word_of_another(demo: DemoRun) -> None:
    page = gallery(demo.store, demo.shards, title="t", intro="i", rankers=("one",), samples=2, notes={})
    assert page.count('<th class="n">one</th></tr>') == 2
    assert not re.search("first ranker|final|ViT|RN50", page)


def test_text_from_the_web_stays_text(demo: DemoRun, tmp_path: Path) -> None:
    shutil.copytree(demo.folder, tmp_path / "data")
    store = ShardStore(tmp_path / "data")
    path = store.path(StageName.PUBLISHED, demo.shards[0]).path
    with pq.ParquetFile(path) as file:
        rows, schema, said = file.read().to_pylist(), file.schema_arrow, dict(file.metadata.metadata)
    said.pop(b"ARROW:schema")
    for row in rows:
        row.update(TEXT=HOSTILE, top_caption=HOSTILE, all_captions=[HOSTILE] * len(row["all_captions"]))
    with pq.ParquetWriter(path, schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))
        writer.add_key_value_metadata(said)
    page = gallery(
        store,
        demo.shards[:1],
        title=HOSTILE,
        intro=HOSTILE,
        rankers=(HOSTILE, HOSTILE),
        samples=3,
        notes={rows[0]["sample_id"]: HOSTILE},
    )
    tags = _Tags()
    tags.feed(page)
    assert {name for name, _ in tags.found if name not in ("td", "th", "tr", "p", "div")} == {
        *("html", "head", "meta", "title", "style", "body", "header", "h1", "main", "article", "table", "img")
    }
    assert {attribute for name, attributes in tags.found if name == "img" for attribute in attributes} == {"alt", "src"}
    assert "default-src 'none'" in page


def test_a_removed_sample_is_passed_over_and_the_others_keep_their_own_pictures(demo: DemoRun, tmp_path: Path) -> None:
    shutil.copytree(demo.folder, tmp_path / "data")
    shard = demo.shards[0]
    removed = [row["sample_id"] for row in stage_rows(demo.store, StageName.PUBLISHED, shard, ["sample_id"])][:5:2]
    (tmp_path / "removals.txt").write_text("\n".join(removed))
    changes = {"data_dir": str(tmp_path / "data"), "removals": str(tmp_path / "removals.txt")}
    run = run_demo_shards(demo.settings.model_copy(update=changes))
    digests = {row["sample_id"]: row["sha256"] for row in stage_rows(run.store, StageName.FETCHED_IMAGES, shard)}
    pairs = list(published_images(run.store, shard))
    assert {row["sample_id"]: hashlib.sha256(image).hexdigest() for row, image in pairs} == {
        row["sample_id"]: digests[row["sample_id"]] for row in stage_rows(run.store, StageName.PUBLISHED, shard)
    }
    assert len(pairs) == demo.store.need(StageName.PUBLISHED, shard).rows - len(removed)
    page = gallery(
        run.store, run.shards, title="t", intro="i", rankers=RANKERS, samples=4, notes=dict.fromkeys(removed, "REMOVED")
    )
    assert page.count("<article>") == 4
    assert "REMOVED" not in page


class _Tags(HTMLParser):
    """What a browser would make of the page: each tag, and its attributes' names."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, [name for name, _ in attrs]))
