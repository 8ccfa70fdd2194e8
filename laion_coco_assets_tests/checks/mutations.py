"""For each rule a change of the demo's files that this rule must catch, and no other."""

import hashlib
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from laion_coco_assets.contract.stage_names import LEDGER, StageName
from laion_coco_assets.sources.sample_id import sample_id
from laion_coco_assets.store.store import ShardStore

Row = dict[str, Any]
Rows = list[Row]
SHARD = "demo-00000"


#: A change of a stage file's rows and of what the file says of itself.
Change = Callable[[pa.Table, dict[str, str]], pa.Table]


def tamper(store: ShardStore, stage: str, change: Change, shard: str = SHARD) -> None:
    """Change a stage file; what it says of itself is kept but for what `change` does to it."""
    path = store.path(stage, shard).path
    with pq.ParquetFile(path) as file:
        table = file.read()
        said = {name.decode(): value.decode() for name, value in file.metadata.metadata.items()}
    del said["ARROW:schema"]
    table = change(table, said)
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(said)


def table(change: Callable[[pa.Table], pa.Table]) -> Change:
    """A change of the table alone."""
    return lambda found, _: change(found)


def rows(edit: Callable[[Rows], None]) -> Change:
    """A change of the rows alone."""

    def change(found: pa.Table, _: dict[str, str]) -> pa.Table:
        edited = found.to_pylist()
        edit(edited)
        return pa.Table.from_pylist(edited, schema=found.schema)

    return change


def metadata(**values: str) -> Change:
    """A change of what a file says of itself."""

    def change(found: pa.Table, said: dict[str, str]) -> pa.Table:
        said.update({f"laion_coco.{name}": value for name, value in values.items()})
        return found

    return change


def nulled(name: str) -> Change:
    """Every value of a column is null, whatever its contract says."""

    def change(found: pa.Table, _: dict[str, str]) -> pa.Table:
        i = found.schema.get_field_index(name)
        field = found.schema.field(i).with_nullable(True)
        return found.set_column(i, field, pa.nulls(len(found), field.type))

    return change


def first(condition: Callable[[Row], Any] = lambda _: True, **values: Any) -> Callable[[Rows], None]:
    """Set values of the first row for which the condition holds."""

    def edit(found: Rows) -> None:
        row = next(each for each in found if condition(each))
        row.update({name: value(row) if callable(value) else value for name, value in values.items()})

    return edit


def swap(one: int, other: int) -> Callable[[Rows], None]:
    def edit(found: Rows) -> None:
        found[one], found[other] = found[other], found[one]

    return edit


def every(condition: Callable[[Row], Any], **values: Any) -> Callable[[Rows], None]:
    """Set values of every row for which the condition holds."""

    def edit(found: Rows) -> None:
        for row in filter(condition, found):
            row.update(values)

    return edit


def replace(one: int, other: int) -> Callable[[Rows], None]:
    """Let a row stand in another's place, too."""

    def edit(found: Rows) -> None:
        found[other] = dict(found[one])

    return edit


def unsorted_tail(found: Rows) -> None:
    """Swap two candidates behind the five that the first ranker kept: what the stages before say of them still holds."""
    lists = ("all_captions", "all_similarities", "all_multiplicities")
    row = next(each for each in found if len(each["all_captions"]) > 6)
    for name in lists:
        row[name][-2:] = row[name][:-3:-1]


def halved(found: Rows) -> None:
    """Every score is half of what it was, which leaves their order as it was."""
    for row in found:
        for name in ("scores", "top_scores"):
            row[name] = [each / 2 for each in row[name]]


def top_captions(said: Callable[[Rows, int], str]) -> Callable[[Rows], None]:
    """Every sample's top caption is what `said` makes of the rows and its index."""

    def edit(found: Rows) -> None:
        new = [said(found, i) for i in range(len(found))]
        for row, caption in zip(found, new, strict=True):
            row["all_captions"] = [caption if each == row["top_caption"] else each for each in row["all_captions"]]
            row["top_caption"] = caption

    return edit


def other_samples(store: ShardStore, mark: str) -> Change:
    """Other URLs and so sample_ids, the same in `published` and its ledger: a sample is published in one shard."""
    published = pq.read_table(store.path(StageName.PUBLISHED, SHARD).path, columns=["sample_id", "TEXT"]).to_pylist()
    texts = {row["sample_id"]: row["TEXT"] for row in published}

    def edit(found: Rows) -> None:
        for row in found:
            if row["sample_id"] in texts:
                text, row["URL"] = texts[row["sample_id"]], f"{row['URL']}?{mark}"
                row["sample_id"] = sample_id(row["URL"], text)

    return rows(edit)


def without_last(found: Rows) -> None:
    del found[-1]


def half_rejected(found: Rows) -> None:
    for row in [each for each in found if ok(each)][::2]:
        row.update(status="rejected", reason="dns", image=None, sha256=None)


def ok(row: Row) -> bool:
    return row["status"] == "ok"


def is_published(row: Row) -> bool:
    return row["status"] == "published"


def has_alt_text(row: Row) -> bool:
    return row["alt_text_similarity"] is not None


def at(name: str, i: int, value: Any) -> Callable[[Row], list[Any]]:
    """The row's list of this name with another value at one place."""

    def changed(row: Row) -> list[Any]:
        values = list(row[name])
        values[i] = value
        return values

    return changed


def at_winner(value: Any) -> Callable[[Row], list[Any]]:
    """The second ranker's scores with another one for the winner."""
    return lambda row: at("final_similarities", row["all_captions"].index(row["top_caption"]), value)(row)


def wins(place: int) -> Callable[[Row], bool]:
    """Whether the top caption is the one at this place of all captions, of which there are more than the five kept."""
    return lambda row: len(row["all_captions"]) > 5 and row["top_caption"] == row["all_captions"][place]


def loses(place: int) -> Callable[[Row], bool]:
    return lambda row: len(row["all_captions"]) > 5 and not wins(place)(row)


def one_ranker(found: Rows) -> None:
    """What a profile without a second ranker publishes."""
    for row in found:
        row.update(final_similarities=None, alt_text_final_similarity=None, top_caption=row["all_captions"][0])


def both(*edits: Callable[[Rows], None]) -> Change:
    """One change of the rows behind the other."""

    def edit(found: Rows) -> None:
        for each in edits:
            each(found)

    return rows(edit)


#: For each rule of a shard a file to tamper with, and how.
MUTATIONS: dict[str, tuple[str, Change]] = {
    "fetched_images_columns": (StageName.FETCHED_IMAGES, table(lambda found: found.drop_columns(["final_url"]))),
    "fetched_images_content": (StageName.FETCHED_IMAGES, rows(first(ok, image=lambda row: row["image"] + b"!"))),
    "fetched_images_described": (StageName.FETCHED_IMAGES, rows(first(ok, format="BMP"))),
    "fetched_images_every_source_row": (StageName.FETCHED_IMAGES, rows(swap(0, 1))),
    "fetched_images_once_per_url": (StageName.FETCHED_IMAGES, rows(first(lambda row: row["reason"] == "duplicate_url", reason="timeout"))),
    "fetched_images_reason": (StageName.FETCHED_IMAGES, rows(first(lambda row: not ok(row), reason="bad luck"))),
    "fetched_images_sample_id": (StageName.FETCHED_IMAGES, rows(first(sample_id="0" * 32))),
    "fetched_images_success": (StageName.FETCHED_IMAGES, rows(every(ok, status="rejected", reason="dns", image=None, sha256=None))),
    "blip_candidates_columns": (StageName.BLIP_CANDIDATES, table(lambda found: found.rename_columns(["row", "sample_id", "texts", *found.column_names[3:]]))),
    "blip_candidates_every_image": (StageName.BLIP_CANDIDATES, rows(without_last)),
    "blip_candidates_lists": (StageName.BLIP_CANDIDATES, rows(first(multiplicities=lambda row: [41] * len(row["captions"])))),
    "blip_candidates_reproducible": (StageName.BLIP_CANDIDATES, metadata(models="{}")),
    "clip_l_top5_all_scores": (StageName.CLIP_L_TOP5, rows(first(scores=lambda row: [*row["scores"][:-1], None]))),
    "clip_l_top5_best": (StageName.CLIP_L_TOP5, rows(first(lambda row: len(row["top"]) > 1, top=lambda row: row["top"][::-1]))),
    "clip_l_top5_columns": (StageName.CLIP_L_TOP5, table(lambda found: found.append_column("more", pa.nulls(len(found))))),
    "clip_l_top5_every_image": (StageName.CLIP_L_TOP5, rows(without_last)),
    "rn50x64_final_columns": (StageName.RN50X64_FINAL, table(lambda found: found.drop_columns(["alt_text_score"]))),
    "rn50x64_final_every_image": (StageName.RN50X64_FINAL, rows(swap(0, 1))),
    "rn50x64_final_winner": (StageName.RN50X64_FINAL, rows(first(caption="another"))),
    "ledger_columns": (LEDGER, table(lambda found: found.drop_columns(["detail"]))),
    "ledger_fingerprint": (LEDGER, metadata(fingerprint="0" * 32)),
    "published_all_scores": (StageName.PUBLISHED, rows(first(all_multiplicities=lambda row: [each + 1 for each in row["all_multiplicities"]]))),
    "published_captions": (StageName.PUBLISHED, rows(unsorted_tail)),
    "published_carried_over": (StageName.PUBLISHED, rows(first(WIDTH=1))),
    "published_columns": (StageName.PUBLISHED, table(lambda found: found.select([found.num_columns - 1, *range(found.num_columns - 1)]))),
    "published_ledger_agrees": (LEDGER, rows(first(lambda row: row["reason"] == "http_4xx", reason="dns"))),
    "published_matches_ledger": (StageName.PUBLISHED, rows(replace(0, 1))),
    "published_nothing_vanishes": (LEDGER, rows(without_last)),
    "published_repetition": (StageName.PUBLISHED, rows(top_captions(lambda *_: "a hat on top of a hat"))),
    "published_whole_shard": (StageName.PUBLISHED, metadata(max_samples="100")),
    "published_row_fingerprint": (StageName.PUBLISHED, rows(first(fingerprint="0" * 32))),
}  # fmt: skip


#: What makes a file stale: it is whole, and made with other settings, or from other files. Only the rule on its origin says so.
STALE: dict[str, tuple[str, Change]] = {
    "fetched_images_fingerprint": (StageName.FETCHED_IMAGES, metadata(fingerprint="0" * 32)),
    "blip_candidates_fingerprint": (StageName.BLIP_CANDIDATES, metadata(inputs='{"fetched_images": "another"}')),
    "clip_l_top5_fingerprint": (StageName.CLIP_L_TOP5, metadata(fingerprint="0" * 32)),
    "rn50x64_final_fingerprint": (StageName.RN50X64_FINAL, metadata(fingerprint="0" * 32)),
}


def until(stage: str) -> tuple[str, ...]:
    """The stages up to this one, as if the run had ended there."""
    order = list(StageName)
    return tuple(order[: order.index(StageName(stage)) + 1])


#: What docs/checks-workflow.yml has in git.
IN_GIT: tuple[str, ...] = (StageName.PUBLISHED, LEDGER)


@dataclass(frozen=True)
class Mutation:
    """Changes that one rule must catch, and no other, when only the files of `left` are there."""

    rule: str
    changes: Mapping[str, Change]
    left: tuple[str, ...] = (*StageName, LEDGER)


def _fetched(**values: Any) -> Mutation:
    change = rows(first(ok, **values))
    return Mutation("fetched_images_described", {StageName.FETCHED_IMAGES: change}, until(StageName.FETCHED_IMAGES))


def _candidates(**values: Any) -> Mutation:
    change = rows(first(**values))
    return Mutation("blip_candidates_lists", {StageName.BLIP_CANDIDATES: change}, until(StageName.BLIP_CANDIDATES))


def _no_inputs(stage: str) -> Mutation:
    return Mutation(f"{stage}_fingerprint", {stage: metadata(inputs="{}")}, until(stage))


def _alt_text(stage: str, rule: str, score: float) -> Mutation:
    change = rows(first(lambda row: row["alt_text_score"] is not None, alt_text_score=score))
    return Mutation(f"{stage}_{rule}", {stage: change}, until(stage))


def _published(rule: str, *edits: Callable[[Rows], None]) -> Mutation:
    return Mutation(f"published_{rule}", {StageName.PUBLISHED: both(*edits)}, IN_GIT)


def _of_both(rule: str, **values: Any) -> Mutation:
    changes = {StageName.PUBLISHED: rows(first(**values)), LEDGER: rows(first(is_published, **values))}
    return Mutation(f"published_{rule}", changes, IN_GIT)


def _ledger(rule: str, edit: Callable[[Rows], None], left: tuple[str, ...] = IN_GIT) -> Mutation:
    return Mutation(f"published_{rule}", {LEDGER: rows(edit)}, left)


_ANOTHER_INPUT = metadata(inputs='{"fetched_images": "another"}')
_TRUNCATED = lambda row: row["reason"] == "truncated"  # noqa: E731

#: Further mutations, each of which one rule must catch, by what they do.
FURTHER: dict[str, Mutation] = {
    "an image without a format": _fetched(format=None),
    "an image without a width": _fetched(image_width=None),
    "an image of no height": _fetched(image_height=0),
    "an empty image": _fetched(image=b"", image_bytes=0, sha256=hashlib.sha256(b"").hexdigest()),
    "an image of a failed request": _fetched(http_status=404),
    "an image of no request": _fetched(http_status=None),
    "a multiplicity that is null": _candidates(multiplicities=at("multiplicities", -1, None)),
    "a token count that is null": _candidates(token_counts=at("token_counts", -1, None)),
    "a ranking without its settings": Mutation("clip_l_top5_best", {StageName.CLIP_L_TOP5: metadata(settings="{}")}, until(StageName.CLIP_L_TOP5)),
    "a score of the alt text that is no number": _alt_text(StageName.CLIP_L_TOP5, "all_scores", math.nan),
    "a final score of the alt text out of range": _alt_text(StageName.RN50X64_FINAL, "winner", 1.5),
    "a final score of the alt text that is no number": _alt_text(StageName.RN50X64_FINAL, "winner", math.nan),
    **{f"{stage} of nothing": _no_inputs(stage) for stage in list(StageName)[:-1]},
    "published of nothing": Mutation("published_fingerprint", {each: metadata(inputs="{}") for each in IN_GIT}),
    "published and ledger of another file": Mutation("published_fingerprint", dict.fromkeys(IN_GIT, _ANOTHER_INPUT)),
    "a ledger of another file": Mutation("ledger_fingerprint", {LEDGER: _ANOTHER_INPUT}),
    "another alt text": _published("sample_id", first(has_alt_text, TEXT="another")),
    "no URL, in the ledger either": _of_both("sample_id", URL=None),
    "another sample_id, in the ledger too": _of_both("sample_id", sample_id="0" * 32),
    "another order": Mutation("published_matches_ledger", {StageName.PUBLISHED: rows(swap(0, 1))}),
    "another URL in the ledger": _ledger("matches_ledger", first(is_published, URL="http://another.test/")),
    "a detail of what is published": _ledger("ledger_reasons", first(is_published, detail="all is well")),
    "a stage that there is not": _ledger("ledger_reasons", first(lambda row: row["reason"], stage="nowhere")),
    "another stage of what is published": _ledger("ledger_reasons", first(is_published, stage="rn50x64_final")),
    "another stage with the same reason": Mutation(
        "published_ledger_agrees",
        {
            StageName.FETCHED_IMAGES: rows(first(_TRUNCATED, reason="decode_error")),
            LEDGER: rows(first(_TRUNCATED, reason="decode_error", stage="blip_candidates")),
        },
    ),
    "another sample_id of what is rejected": _ledger("ledger_agrees", first(lambda row: row["reason"] == "http_4xx", sample_id="0" * 32), (*StageName, LEDGER)),
    "another sha256 than the image's": Mutation("published_carried_over", {StageName.PUBLISHED: rows(first(sha256="0" * 64))}),
    "another winner": _published("captions", first(loses(1), top_caption=lambda row: row["all_captions"][1])),
    "another winner with one ranker": _published("captions", one_ranker, first(top_caption=lambda row: row["all_captions"][1])),
    "a caption that is blank": _published("captions", first(loses(-1), all_captions=at("all_captions", -1, "\u3000"))),
    "a caption that is null": _published("captions", first(loses(-1), all_captions=at("all_captions", -1, None))),
    "a published multiplicity that is null": _published("captions", first(all_multiplicities=at("all_multiplicities", -1, None))),
    "a published multiplicity of 0": _published("captions", first(all_multiplicities=at("all_multiplicities", -1, 0))),
    "a similarity that is null": _published("scores", first(all_similarities=at("all_similarities", -1, None))),
    "a similarity that is no number": _published("scores", first(all_similarities=at("all_similarities", 0, math.nan))),
    "a similarity out of range": _published("scores", first(all_similarities=at("all_similarities", 0, 1.5))),
    "no final scores": _published("scores", first(wins(0), final_similarities=None)),
    "no final scores in a list": _published("scores", first(wins(0), final_similarities=[])),
    "a final score too few": _published("scores", first(loses(4), final_similarities=lambda row: row["final_similarities"][:-1])),
    "a final score that is null": _published("scores", first(loses(4), final_similarities=at("final_similarities", 4, None))),
    "a final score that is no number": _published("scores", first(final_similarities=at_winner(math.nan))),
    "a final score out of range": _published("scores", first(final_similarities=at_winner(1.5))),
    "no score of the alt text": _published("scores", first(has_alt_text, alt_text_similarity=None)),
    "no final score of the alt text": _published("scores", first(has_alt_text, alt_text_final_similarity=None)),
    "a score of no alt text": _published("scores", first(lambda row: not has_alt_text(row), alt_text_similarity=0.2)),
    "a final score of no alt text": _published("scores", first(lambda row: not has_alt_text(row), alt_text_final_similarity=0.2)),
    "a final score of the alt text with one ranker": _published("scores", one_ranker, first(has_alt_text, alt_text_final_similarity=0.2)),
    "a published score of the alt text out of range": _published("scores", first(has_alt_text, alt_text_similarity=-1.5)),
    "a published final score of the alt text that is no number": _published("scores", first(has_alt_text, alt_text_final_similarity=math.nan)),
}  # fmt: skip

#: For each rule across shards the files that a second shard has of the first, and how one of them is tampered with.
ACROSS: dict[str, tuple[tuple[str, ...], str, Change]] = {
    "blip_candidates_same_everywhere": (
        (StageName.FETCHED_IMAGES, StageName.BLIP_CANDIDATES),
        StageName.BLIP_CANDIDATES,
        rows(first(multiplicities=lambda row: row["multiplicities"][::-1], captions=lambda row: row["captions"][::-1])),
    ),
    "published_once_across_shards": ((StageName.PUBLISHED, LEDGER), StageName.PUBLISHED, metadata(shard="again")),
}

#: For each rule that compares a shard with earlier ones the files of those, and how the later one is tampered with.
DRIFTS: dict[str, tuple[tuple[str, ...], Change]] = {
    "fetched_images_success_drift": ((StageName.FETCHED_IMAGES,), rows(half_rejected)),
    "clip_l_top5_score_drift": ((StageName.CLIP_L_TOP5,), rows(halved)),
    "published_length_drift": (
        (StageName.PUBLISHED, LEDGER),
        rows(top_captions(lambda found, i: found[i]["top_caption"] + " with a hat")),
    ),
    # Neighbours share a caption, with the words of one of them.
    "published_repetition_drift": (
        (StageName.PUBLISHED, LEDGER),
        rows(top_captions(lambda found, i: found[i // 2 * 2]["top_caption"] + "s")),
    ),
}

#: How many shards come before: as many as a comparison needs.
EARLIER = 5

#: Rules whose violation the other stages' files would contradict, beyond the later ones of a shard.
_ALONE = {"published_repetition", "published_length_drift", "published_repetition_drift"}


def copy_shard(store: ShardStore, stages: tuple[str, ...], name: str, *changes: Change) -> None:
    """A second shard that has the first one's files."""
    for each in stages:
        shutil.copy(store.path(each, SHARD).path, store.path(each, name).path)
        for change in (metadata(shard=name), *changes):
            tamper(store, each, change, name)


def copy_before(store: ShardStore, stages: tuple[str, ...], count: int = EARLIER) -> list[str]:
    """Shards before the first one, each with the same files and its own samples."""
    names = [f"before-{i:05}" for i in range(count)]
    for name in names:
        copy_shard(store, stages, name, *([other_samples(store, name)] if StageName.PUBLISHED in stages else []))
    return names


def plant(store: ShardStore, name: str) -> None:
    """Make the demo's files break a rule, and no other. `name` is the rule's, or that of one of FURTHER.

    A stage's file that is not what it was contradicts the later ones, which would break their rules: they are removed,
    as if the run had ended there.
    """
    if name in FURTHER:
        for stage, change in FURTHER[name].changes.items():
            tamper(store, stage, change)
        for each in {*StageName, LEDGER}.difference(FURTHER[name].left):
            Path(store.path(each, SHARD).path).unlink()
        return
    if name in ACROSS:
        stages, stage, change = ACROSS[name]
        copy_shard(store, stages, "again")
        tamper(store, stage, change, "again")
        return
    if name in DRIFTS:
        stages, change = DRIFTS[name]
        copy_before(store, stages)
        stage = stages[0]
    else:
        stage, change = (MUTATIONS | STALE)[name]
    tamper(store, stage, change)
    order = list(StageName)
    others = order[order.index(StageName(stage)) + 1 :] if stage in order else []
    others += [LEDGER] if others else []
    others += order[:-1] if name in _ALONE else []
    for each in others:
        Path(store.path(each, SHARD).path).unlink()
