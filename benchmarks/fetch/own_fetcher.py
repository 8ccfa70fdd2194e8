"""This project's contestant in the fetch benchmark: the work of the stage `fetched_images`, in its own process.

It runs as a script, so it imports nothing of the benchmark.
"""

import json
import sys
from pathlib import Path

from laion_coco_assets.assets.fetched_images import FetchedImages
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.stage_info import StageKey
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.fetching.fetched_rows import fetch_shard
from laion_coco_assets.fetching.fetcher import FetchDeployment, Fetcher
from laion_coco_assets.sources.listing import list_sources
from laion_coco_assets.store.store import ShardStore


def main() -> None:
    """`own_fetcher.py SOURCE DATA_DIR CONCURRENCY`: write the number of images to DATA_DIR/images.json.

    It reads SSL_CERT_FILE from the environment.
    """
    source, data_dir, concurrency = sys.argv[1:]
    ((shard, origin),) = list_sources(source).items()
    store = ShardStore(data_dir)
    settings = load_profile("laion-coco").fetch
    deployment = FetchDeployment(concurrency=int(concurrency), allow_networks=("127.0.0.0/8",))
    images = 0
    key = StageKey(StageName.FETCHED_IMAGES, shard, "0" * 32, {"source": origin.digest})
    with Fetcher(settings, deployment) as fetcher, store.write(key, FetchedImages.schema()) as writer:
        for rows in fetch_shard(origin, fetcher, writer.done):
            writer.append(rows)
            images += sum(row["status"] == "ok" for row in rows)
    (Path(data_dir) / "images.json").write_text(json.dumps(images), encoding="ascii")


if __name__ == "__main__":
    main()
