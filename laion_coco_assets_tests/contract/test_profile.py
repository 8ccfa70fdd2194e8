"""Profiles say clearly what is wrong with them, and fingerprints follow exactly what a stage depends on."""

import re
from pathlib import Path

import pytest

from laion_coco_assets.assets import fingerprints
from laion_coco_assets.contract.fingerprint import content_digest
from laion_coco_assets.contract.profile import Profile
from laion_coco_assets.contract.profile_files import load_profile, shipped_profiles
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.errors import ProfileError


def write(folder: Path, text: str, name: str = "mine.toml") -> Path:
    file = folder / name
    file.write_text('base = "laion-coco"\nname = "mine"\n' + text)
    return file


def test_the_shipped_profiles_load() -> None:
    assert shipped_profiles() == ["demo", "laion-coco", "laion-idle-cap"]
    assert [load_profile(name).name for name in shipped_profiles()] == shipped_profiles()


def test_the_default_profile_has_the_original_settings() -> None:
    caption = load_profile("laion-coco").caption
    assert caption.candidates == 40
    assert [(each.tokens, each.candidates) for each in caption.max_lengths] == [(20, 8), (30, 16), (45, 16)]
    assert (caption.top_p, caption.top_k, caption.repetition_penalty) == (0.2427084604681384, 9607, 1.3)
    assert (caption.min_length, caption.forced_end) == (5, 0.17937666742679637)
    assert load_profile("laion-idle-cap").final is None


@pytest.mark.parametrize(
    ("text", "key", "what"),
    [
        ("[caption]\ntopp = 0.5", "caption.topp", "unknown key"),
        ("[capture]\nx = 1", "capture", "unknown key"),
        ("[caption]\ntemperature = inf", "caption.temperature", "finite number"),
        ("[caption]\ntop_p = 1.5", "caption.top_p", "less than or equal to 1, not 1.5"),
        ('[caption]\ntop_k = "many"', "caption.top_k", "valid integer, not 'many'"),
        ("[caption]\ntop_k = true", "caption.top_k", "valid integer, not True"),
        ("[caption]\nmin_length = 21", "caption", "above the shortest max length of 20"),
        ("[caption]\nseed = -1", "caption.seed", "greater than or equal to 0"),
        ("[rank]\nkeep = 41", "(the whole profile)", "only 40 captions are drawn"),
        ("[fetch]\nmax_bytes = 0", "fetch.max_bytes", "greater than 0"),
        ("[caption.model]\npath = 'nowhere'", "caption.model.path", "does not exist"),
        ("[final.model]\npath = 7", "final.model.path", "not a valid path"),
    ],
)
def test_a_wrong_value_is_one_error_with_file_and_key(tmp_path: Path, text: str, key: str, what: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ProfileError) as error:
        load_profile(file)
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"{file}: {key}: ")
    assert what in line


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "bare.toml"
    file.write_text('name = "bare"\n')
    with pytest.raises(ProfileError, match=re.escape(f"{file}: caption: missing")):
        load_profile(file)


def test_what_is_no_profile_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"neither a file nor one of the shipped profiles \(demo, laion-coco"):
        load_profile("laion-cocoa")
    (tmp_path / "broken.toml").write_text("name = ")
    with pytest.raises(ProfileError, match="not TOML"):
        load_profile(tmp_path / "broken.toml")
    (tmp_path / "circle.toml").write_text('base = "circle.toml"\n')
    with pytest.raises(ProfileError, match="circle"):
        load_profile(tmp_path / "circle.toml")


STAGES = list(StageName)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("[fetch]\nmin_side = 33", StageName.FETCHED_IMAGES),
        ("[caption]\nseed = 1", StageName.BLIP_CANDIDATES),
        ("[caption.model]\nrevision = 'other'", StageName.BLIP_CANDIDATES),
        ("[rank]\nkeep = 4", StageName.CLIP_L_TOP5),
        ("[final.model]\nrevision = 'other'", StageName.RN50X64_FINAL),
        ("[publish]\ntitle = 'other'", StageName.PUBLISHED),
        ("", None),
    ],
)
def test_a_changed_setting_changes_its_stage_and_those_after_it(
    tmp_path: Path, text: str, first: StageName | None
) -> None:
    before, after = fingerprints(load_profile("laion-coco")), fingerprints(load_profile(write(tmp_path, text)))
    changed = [stage for stage in STAGES if before[stage] != after[stage]]
    assert changed == (STAGES[STAGES.index(first) :] if first else [])


def _with_model(folder: Path, model: Path) -> Profile:
    return load_profile(write(folder, f"[caption.model]\npath = '{model}'"))


def test_a_local_model_counts_by_its_content_not_its_place(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder, weights in zip(folders, (b"x", b"x", b"y"), strict=True):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(weights * 100)
    prints = [fingerprints(_with_model(tmp_path, folder))[StageName.BLIP_CANDIDATES] for folder in folders]
    assert prints[0] == prints[1]
    assert prints[0] != prints[2]


def test_how_local_weights_are_used_counts_too(tmp_path: Path) -> None:
    weights = tmp_path / "clip.safetensors"
    weights.write_bytes(b"x")
    prints = [
        fingerprints(load_profile(write(tmp_path, f"[rank.model]\npath = '{weights}'\npretrained = '{tag}'")))
        for tag in ("openai", "laion2b_s32b_b82k")
    ]
    changed = [stage for stage in STAGES if prints[0][stage] != prints[1][stage]]
    assert changed == STAGES[STAGES.index(StageName.CLIP_L_TOP5) :]


@pytest.mark.parametrize("at", [0, 1 << 24, (1 << 25) - 1])
def test_new_weights_in_a_large_file_are_seen(tmp_path: Path, at: int) -> None:
    file = tmp_path / "large.safetensors"
    content = bytearray(1 << 25)
    file.write_bytes(content)
    before = content_digest(file)
    block = slice(max(0, at - (1 << 20)), at + (1 << 20))
    content[block] = b"\1" * len(content[block])
    file.write_bytes(content)
    assert content_digest(file) != before
