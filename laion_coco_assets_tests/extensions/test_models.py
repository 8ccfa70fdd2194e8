"""A captioner and rankers of another package: one class each, named in a profile, work through assets and checks."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, Self

import pytest
from PIL import Image

from laion_coco_assets.assets import fingerprints
from laion_coco_assets.captioning.interfaces import Candidates
from laion_coco_assets.captioning.simple import SimpleCaptioner, SimpleRanker
from laion_coco_assets.cli.runner import ShardOutcome, run_shards
from laion_coco_assets.contract.profile import CaptionSettings, RankerSource
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.stage_names import LEDGER, StageName
from laion_coco_assets.errors import ModelUnavailableError, ProfileError
from laion_coco_assets.progress import NoProgress
from laion_coco_assets.resources.models_resource import ModelsResource
from laion_coco_assets.settings import Settings
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets_tests.cli.test_cli import laion_coco
from laion_coco_assets_tests.conftest import DemoRun
from laion_coco_assets_tests.publishing.test_published import card_of

HERE = __name__
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}


class ColourRanker(SimpleRanker):
    """Likes texts that name colours near the image's mean colour."""

    def __init__(self, missing: float = 0.0) -> None:
        self.missing = missing

    def prepare(self, image: Image.Image) -> Any:
        return image.resize((1, 1)).getpixel((0, 0))

    def score_image(self, image: Any, texts: Sequence[str]) -> Sequence[float]:
        near = {name: 1 - sum(abs(a - b) for a, b in zip(image, of, strict=True)) / 765 for name, of in COLOURS.items()}
        return [max((near[word] for word in text.split() if word in near), default=self.missing) for text in texts]


class LengthRanker:
    """Likes short texts; derives from nothing."""

    revision, threads = "1", 2

    @classmethod
    def load(cls, source: RankerSource, setting: str, *placement: Any) -> Self:
        return cls()

    def prepare(self, image: Image.Image) -> Any:
        return image.size

    def score(self, prepared: Sequence[Any], texts: Sequence[Sequence[str]]) -> list[list[float]]:
        return [[1 / (1 + len(text)) for text in own] for own in texts]


class ColourCaptioner(SimpleCaptioner):
    """Names colours at random."""

    def __init__(self, noun: str = "picture") -> None:
        self.noun = noun

    def draw(self, image: Any, count: int, random: Random) -> Iterator[str]:
        return (f"a {random.choice(list(COLOURS))} {self.noun}" for _ in range(count))


class Broken(SimpleRanker):
    def __init__(self) -> None:
        raise RuntimeError("no licence")

    def score_image(self, image: Any, texts: Sequence[str]) -> Sequence[float]:
        raise NotImplementedError


class Unfinished(SimpleRanker):  # lacks score_image
    pass


class Unprepared(LengthRanker):
    prepare = None  # type: ignore[assignment]


class NoThreads(LengthRanker):
    @property
    def threads(self) -> int:  # type: ignore[override]
        raise AttributeError("threads")


RANKERS = f"""
[rank.model]
type = "{HERE}:ColourRanker"
name = "colours"
options = {{ missing = -0.5 }}

[final.model]
type = "{HERE}:LengthRanker"
name = "brevity"
"""
CAPTIONER = f"""
[caption.model]
type = "{HERE}:ColourCaptioner"
name = "palette"
revision = "2"
options = {{ noun = "scene" }}
"""


def profile_file(folder: Path, text: str) -> str:
    file = folder / "mine.toml"
    file.write_text(f'base = "demo"\nname = "mine"\n{text}')
    return str(file)


@pytest.fixture
def data(demo: DemoRun, tmp_path: Path) -> Path:
    """The demo's source and images, for one shard; and what its captioner wrote."""
    shard = demo.shards[0]
    for stage in (StageName.FETCHED_IMAGES, StageName.BLIP_CANDIDATES, "source"):
        (tmp_path / "data" / stage).mkdir(parents=True)
        shutil.copy(demo.folder / stage / f"{shard}.parquet", tmp_path / "data" / stage)
    return tmp_path / "data"


def run(data: Path, profile: str) -> ShardOutcome:
    settings = Settings(profile=profile, data_dir=str(data))
    shards = [path.stem for path in (data / "source").iterdir()]
    (outcome,) = run_shards(settings, shards, NoProgress())
    return outcome


def test_rankers_of_another_package_rank_what_blip_wrote(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = profile_file(tmp_path, RANKERS)
    outcome = run(data, profile)
    assert outcome.ok, outcome
    assert outcome.metadata[StageName.BLIP_CANDIDATES]["skipped"], "its settings are the demo's"
    store = ShardStore(data)
    rows = list(stage_rows(store, StageName.PUBLISHED, outcome.shard))
    assert len(rows) > 10
    for row in rows:
        texts = row["all_captions"]
        assert row["all_similarities"] == sorted(row["all_similarities"], reverse=True)
        assert row["final_similarities"] == [1 / (1 + len(text)) for text in texts[:5]]
        assert row["top_caption"] == min(texts[:5], key=len)
        colourless = [
            s for s, text in zip(row["all_similarities"], texts, strict=True) if not {*text.split()} & {*COLOURS}
        ]
        assert set(colourless) <= {-0.5}, "the option came through"
    assert store.need(StageName.CLIP_L_TOP5, outcome.shard).metadata["models"]["rank"]["name"] == "colours"
    assert store.need(StageName.RN50X64_FINAL, outcome.shard).metadata["models"]["final"]["revision"] == "1"
    text = (data / "published" / "README.md").read_text()
    assert "a first ranker, colours, scores them all and keeps 5, and a final one, brevity, picks the winner" in text
    arguments = ("check", "--data-dir", str(data), "--profile", profile)
    assert laion_coco(*arguments, monkeypatch=monkeypatch) == 0


def test_another_captioner_writes_the_same_captions_in_every_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = profile_file(tmp_path, CAPTIONER + RANKERS)
    assert run(data, profile).ok
    store = ShardStore(data)
    (shard,) = store.shards(LEDGER)
    file = store.need(StageName.BLIP_CANDIDATES, shard)
    assert file.metadata["models"]["caption"] == {"name": "palette", "revision": "2"}
    for row in stage_rows(store, StageName.BLIP_CANDIDATES, shard):
        assert sum(row["multiplicities"]) == load_profile(profile).caption.candidates
        assert {caption.split()[2] for caption in row["captions"]} == {"scene"}
        assert row["token_counts"] == [3] * len(row["captions"])
    assert laion_coco("check", "--data-dir", str(data), "--profile", profile, monkeypatch=monkeypatch) == 0
    for stage in (StageName.BLIP_CANDIDATES, StageName.CLIP_L_TOP5):
        store.path(stage, shard).unlink()
    assert run(data, profile).ok
    assert store.need(StageName.BLIP_CANDIDATES, shard).content == file.content


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        (("missing = -0.5", "missing = 0.5"), StageName.CLIP_L_TOP5),
        (('noun = "scene"', 'noun = "view"'), StageName.BLIP_CANDIDATES),
        (('revision = "2"', 'revision = "3"'), StageName.BLIP_CANDIDATES),
        (("LengthRanker", "ColourRanker"), StageName.RN50X64_FINAL),
    ],
)
def test_another_class_or_option_is_another_fingerprint(
    tmp_path: Path, changed: tuple[str, str], first: StageName
) -> None:
    text = CAPTIONER + RANKERS
    before = fingerprints(load_profile(profile_file(tmp_path, text)))
    after = fingerprints(load_profile(profile_file(tmp_path, text.replace(*changed))))
    stages = list(StageName)
    assert [stage for stage in StageName if before[stage] != after[stage]] == stages[stages.index(first) :]


def test_a_model_of_another_kind_takes_nothing_from_the_bases(tmp_path: Path) -> None:
    source = load_profile(profile_file(tmp_path, RANKERS)).rank.model
    assert (source.path, source.pretrained, source.revision) == (None, "", "main")
    assert "clip" not in card_of(profile_file(tmp_path, CAPTIONER + RANKERS)).partition("```json")[0]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("no_such_package:Ranker", "rank.model.type: 'no_such_package:Ranker' cannot be loaded (ModuleNotFoundError"),
        (f"{HERE}:NoSuchClass", f"rank.model.type: '{HERE}:NoSuchClass' cannot be loaded (AttributeError"),
        ("nothing", "rank.model: type: should be of the form package.module:Class"),
        (f"{HERE}:Unfinished", f"rank.model.type: '{HERE}:Unfinished' is not a ranker: it lacks score_image"),
    ],
)
def test_a_class_that_is_not_to_be_had_is_one_error_before_any_work(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    path: str,
    problem: str,
) -> None:
    profile = profile_file(tmp_path, RANKERS.replace(f"{HERE}:ColourRanker", path))
    arguments = ("run", "--source", str(data / "source"), "--data-dir", str(data), "--profile", profile)
    assert laion_coco(*arguments, monkeypatch=monkeypatch) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert problem in shown
    assert "Traceback" not in shown
    assert not (data / "clip_l_top5").exists()


@pytest.mark.parametrize(
    ("name", "error", "problem"),
    [
        ("Unprepared", ProfileError, r"rank\.model\.type: '.*:Unprepared' is not a ranker: it lacks prepare;"),
        ("NoThreads", ProfileError, r"rank\.model\.type: '.*:NoThreads' is not a ranker: it lacks threads;"),
        ("COLOURS", ProfileError, r"rank\.model\.type: '.*:COLOURS' is not a ranker: it lacks load, prepare, score;"),
        ("Broken", ModelUnavailableError, r"rank\.model: .*:Broken could not be built \(RuntimeError: no licence\)"),
    ],
)
def test_what_a_class_lacks_is_named_when_it_is_loaded(name: str, error: type[Exception], problem: str) -> None:
    source = RankerSource(type=f"{HERE}:{name}", name="mine")
    with pytest.raises(error, match=problem):
        ModelsResource(device="cpu").ranker(source, "rank.model")


def test_options_that_a_class_does_not_take_are_named() -> None:
    source = RankerSource(type=f"{HERE}:ColourRanker", name="mine", options={"sharpness": 1})
    with pytest.raises(
        ProfileError, match=r"final\.model\.options: ColourRanker .*unexpected keyword argument 'sharpness'"
    ):
        ModelsResource(device="cpu").ranker(source, "final.model")


def test_draws_are_merged_and_blank_ones_left_out() -> None:
    class Fixed(SimpleCaptioner):
        def draw(self, image: Any, count: int, random: Random) -> list[str]:
            return ["a dog", " a dog ", "", "one"]

    settings: CaptionSettings = load_profile("demo").caption
    captioner = Fixed.load(settings, *[None] * 2, 0)  # type: ignore[list-item]
    assert list(captioner.stream([("id", None)])) == [[Candidates(("a dog", "one"), (2, 1), (2, 1))]]


def test_too_few_scores_are_an_error() -> None:
    class Short(SimpleRanker):
        def score_image(self, image: Any, texts: Sequence[str]) -> list[float]:
            return [0.0]

    with pytest.raises(ValueError, match="Short gave 1 scores for 2 texts"):
        Short().score([None], [["a", "b"]])


def test_the_interfaces_need_no_torch() -> None:
    code = (
        "import sys, laion_coco_assets.captioning.interfaces, laion_coco_assets.captioning.simple;"
        "print({'torch', 'PIL', 'transformers', 'open_clip'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
