"""A trial is asked for by a number of samples, and takes no whole shard's place, whatever is left of it."""

from pathlib import Path

import pytest

from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.stage_info import StageKey
from laion_coco_assets.errors import ProfileError, StoreError, UserError
from laion_coco_assets.store.store import ShardStore
from laion_coco_assets.store.trial import MAX_SAMPLES_TAG, keep_whole, profile_of_run
from laion_coco_assets_tests.contracts import SCHEMAS, stage_writer

WHOLE = load_profile("demo")
TRIAL = WHOLE.capped(3)


@pytest.mark.parametrize("stage", SCHEMAS)
def test_one_file_of_a_whole_shard_refuses_a_trial(stage: str, tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    with stage_writer(store, StageKey(stage, "s", "f")):
        pass
    with pytest.raises(StoreError, match=rf"{stage}/s\.parquet holds the whole shard, and a trial would replace it"):
        keep_whole(store, "s", TRIAL)
    keep_whole(store, "s", WHOLE)
    keep_whole(store, "other", TRIAL)


@pytest.mark.parametrize("stage", SCHEMAS)
def test_files_of_a_trial_and_damaged_ones_may_be_replaced(stage: str, tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    with stage_writer(store, StageKey(stage, "s", "f")) as writer:
        writer.describe(max_samples=5)
    keep_whole(store, "s", TRIAL)
    store.path(stage, "s").write_bytes(b"damaged")
    keep_whole(store, "s", TRIAL)


@pytest.mark.parametrize("said", ["1", "0012", "999999999"])
def test_a_tag_caps_the_profile(said: str) -> None:
    assert profile_of_run(WHOLE, {MAX_SAMPLES_TAG: said}) == WHOLE.capped(int(said))
    assert profile_of_run(WHOLE, {}) == WHOLE


@pytest.mark.parametrize("said", ["", "0", "000", "-3", "1.5", "ten", "²", "٣", "1" + 9 * "0", 20 * "9", 5000 * "9"])
def test_a_tag_that_is_no_such_number_is_an_error_that_names_it(said: str) -> None:
    with pytest.raises(UserError, match=r"^tag laion_coco/max_samples: must be a number of samples from 1 to") as error:
        profile_of_run(WHOLE, {MAX_SAMPLES_TAG: said})
    assert len(str(error.value)) < 200


def test_a_profile_has_the_same_bound(tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text(f'base = "demo"\nname = "mine"\n[fetch]\nmax_samples = {10**20}\n')
    with pytest.raises(ProfileError, match="max_samples"):
        load_profile(str(profile))
