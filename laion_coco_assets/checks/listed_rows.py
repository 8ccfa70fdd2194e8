"""Published rows that the removal list names: what the rules read as the table `removed`."""

from collections.abc import Collection, Mapping

from laion_coco_assets.checks.rule_tables import Infos
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.errors import StoreError, StoreUnavailableError
from laion_coco_assets.publishing.removal_list import RemovalList
from laion_coco_assets.store.joining import stage_rows
from laion_coco_assets.store.store import ShardStore


def listed_rows(
    store: ShardStore,
    infos: Infos,
    wrong_columns: Collection[str],
    removals: RemovalList | None,
    broken: dict[tuple[str, str], str],
) -> list[dict[str, str]]:
    """The shard, sample_id and list entry of each such row. An entry may also match where redirects led.

    The shard's `fetched_images` says where redirects led, if that file exists. Files that cannot be read to their end
    are added to `broken`.

    Args:
        store: where the files lie.
        infos: of the files that can be read, as far as is known.
        wrong_columns: stages with a file whose columns are not the contract's.
        removals: what must not be published.
        broken: what is wrong with files, by stage and shard.

    Raises:
        StoreUnavailableError: a file's file system failed.
    """
    if not removals or StageName.PUBLISHED in wrong_columns:
        return []
    rows: list[dict[str, str]] = []
    for shard in (shard for stage, shard in infos if stage == StageName.PUBLISHED):
        traced = StageName.FETCHED_IMAGES not in wrong_columns and (StageName.FETCHED_IMAGES, shard) in infos
        reading = StageName.FETCHED_IMAGES
        try:
            final_urls = _final_urls(store, shard) if traced else {}
            reading = StageName.PUBLISHED
            rows += _listed(store, shard, removals, final_urls)
        except StoreUnavailableError:
            raise
        except StoreError as error:
            broken[reading, shard] = str(error)
    return rows


def _listed(
    store: ShardStore, shard: str, removals: RemovalList, final_urls: Mapping[str, str]
) -> list[dict[str, str]]:
    rows = [
        (row["sample_id"], row["URL"]) for row in stage_rows(store, StageName.PUBLISHED, shard, ["sample_id", "URL"])
    ]
    entries = ((sample_id, removals.entry(sample_id, url, final_urls.get(sample_id))) for sample_id, url in rows)
    return [
        {"shard": shard, "sample_id": sample_id, "entry": entry} for sample_id, entry in entries if entry is not None
    ]


def _final_urls(store: ShardStore, shard: str) -> dict[str, str]:
    """The final URL of each image that was redirected, by sample_id."""
    rows = stage_rows(store, StageName.FETCHED_IMAGES, shard, ["sample_id", "URL", "final_url", "status"])
    ok = ((row["sample_id"], row["URL"], row["final_url"]) for row in rows if row["status"] == "ok")
    return {sample_id: final_url for sample_id, url, final_url in ok if final_url not in (None, url)}
