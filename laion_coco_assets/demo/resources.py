"""The demo's own source and fetcher: the corpus is written where it is missing, its server runs while images are fetched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from pydantic import Field

from laion_coco_assets.contract.profile import FetchSettings
from laion_coco_assets.errors import UserError
from laion_coco_assets.resources.fetcher import FetcherResource
from laion_coco_assets.resources.store import SourceResource
from laion_coco_assets.settings import Settings
from laion_coco_assets.sources.source import SourceShard

if TYPE_CHECKING:
    from laion_coco_assets.fetching.fetcher import Fetcher

#: Rows and shards of the corpus where nobody says otherwise.
SAMPLES = 200
SHARDS = 2


class DemoSourceResource(SourceResource):
    """The embedded corpus as source shards; written at the first look."""

    samples: int = Field(default=SAMPLES, description="Source rows, over two shards.")

    def shards(self) -> dict[str, SourceShard]:
        """Every shard of the corpus by its key."""
        write_demo_source(Path(self.source), self.samples)
        return super().shards()

    def shard(self, key: str) -> SourceShard:
        """One shard of the corpus."""
        write_demo_source(Path(self.source), self.samples)
        return super().shard(key)


def write_demo_source(folder: Path, samples: int) -> None:
    """The corpus as source shards in `folder`, its truth beside it in `truth`; nothing if shards are there already."""
    from laion_coco_assets.demo.corpus import build_corpus, write_sources, write_truth

    if any(folder.glob("*.parquet")):
        return
    corpus = build_corpus(samples, SHARDS)
    try:
        write_truth(folder.parent / "truth", corpus)
        with TemporaryDirectory(dir=folder.parent) as beside:
            write_sources(Path(beside) / "source", corpus)
            (Path(beside) / "source").replace(folder)  # all shards at once, or none
    except OSError as error:
        raise UserError(f"{folder.parent} can not be written to: {error.strerror}") from None


class DemoFetcherResource(FetcherResource):
    """A fetcher for the corpus: its URLs' host is a server on this machine's loopback, alive while images are fetched."""

    source: str = Field(description="The corpus' source folder.")

    @contextmanager
    def open(self, settings: FetchSettings) -> Iterator[Fetcher]:
        """A fetcher, with the server behind it; raises UserError where the shards are not the corpus'."""
        from laion_coco_assets.demo.corpus import HOST, build_corpus
        from laion_coco_assets.demo.server import CorpusServer
        from laion_coco_assets.fetching.fetcher import Fetcher

        truth = (Path(self.source).parent / "truth").glob("*.parquet")
        samples = sum(pq.read_metadata(file).num_rows for file in truth)
        if not samples:
            raise UserError(
                f"{self.source} holds other shards than the demo's, and the profile `demo` fetches the demo's images alone: "
                "set LAION_COCO_PROFILE / --profile to laion-coco for your own shards, or LAION_COCO_SOURCE / --source to a "
                "folder that does not exist for the demo's"
            )
        corpus = build_corpus(samples, SHARDS)
        with CorpusServer(corpus) as server:
            own = {
                "hosts": {HOST: f"127.0.0.1:{server.port}"},
                "allow_networks": ("127.0.0.0/8",),
                "host_failures": 0,  # the one host stands for many: what one row's asks for holds for no other
            }
            with Fetcher(settings, self.deployment().model_copy(update=own)) as fetcher:
                yield fetcher


def demo_resources(settings: Settings, samples: int = SAMPLES) -> dict[str, Any]:
    """Resources that stand in for the source and the web, by the names under which assets ask for them."""
    source = settings.source_or_default
    return {
        "source": DemoSourceResource(source=source, samples=samples),
        "fetcher": DemoFetcherResource(source=source, concurrency=settings.fetch_concurrency),
    }
