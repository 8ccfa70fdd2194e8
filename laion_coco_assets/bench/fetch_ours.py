"""This project's contestant in `bench fetch`: the work of the stage `fetched_images`, in a process that does nothing else."""

import json
import os
import sys
from pathlib import Path

from laion_coco_assets.contract.profile import load_profile
from laion_coco_assets.contract.schemas import Stage
from laion_coco_assets.contract.stage_info import StageKey
from laion_coco_assets.fetching.fetcher import FetchDeployment, Fetcher
from laion_coco_assets.fetching.rows import fetch_shard
from laion_coco_assets.sources.source import list_sources
from laion_coco_assets.store.store import ShardStore


def main() -> None:
    """`fetch_ours SOURCE DATA_DIR CONCURRENCY`: prints the number of images as JSON. Heeds SSL_CERT_FILE and LAION_COCO_FETCH_LANES."""
    source, data_dir, concurrency = sys.argv[1:]
    ((shard, origin),) = list_sources(source).items()
    store = ShardStore(data_dir)
    settings = load_profile("laion-coco").fetch
    lanes = int(os.environ.get("LAION_COCO_FETCH_LANES", "1"))
    deployment = FetchDeployment(concurrency=int(concurrency), lanes=lanes, allow_networks=("127.0.0.0/8",))
    images = 0
    key = StageKey(Stage.FETCHED_IMAGES, shard, "0" * 32, {"source": origin.digest})
    with Fetcher(settings, deployment) as fetcher, store.write(key) as writer:
        for rows in fetch_shard(origin, fetcher, writer.done):
            writer.append(rows)
            images += sum(row["status"] == "ok" for row in rows)
    (Path(data_dir) / "images.json").write_text(json.dumps(images), encoding="ascii")


if __name__ == "__main__":
    main()
