"""The resources of a profile based on `demo`: the embedded corpus as the source, and its server for fetching."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
import pyarrow.parquet as pq
from pydantic import Field

from laion_coco_assets.contract.profile import FetchSettings, Profile
from laion_coco_assets.errors import UserError
from laion_coco_assets.resources.fetcher_resource import FetcherResource
from laion_coco_assets.resources.store_resource import SourceResource
from laion_coco_assets.settings import Settings, variable
from laion_coco_assets.sources.protocol import SourceShard

if TYPE_CHECKING:
    from laion_coco_assets.fetching.fetcher import Fetcher

#: Rows and shards of the corpus, unless it was written with other numbers.
SAMPLES = 200
SHARDS = 2
#: Settings that the demo ignores: its one host stands for many hosts, and its private network must stay closed.
_NOT_TAKEN: Final = ("allow_networks", "fetch_breaker_failures", "fetch_breaker_open_s")


def demo_resources(settings: Settings, _profile: Profile) -> dict[str, Any]:
    """The resources that the profile `demo` replaces. Empty when a source is configured."""
    return {} if settings.source else corpus_resources(settings)


def corpus_resources(settings: Settings) -> dict[str, Any]:
    """The corpus as the source and its server as the web, by the names that the assets use."""
    source = settings.source_or_default
    return {
        "source": DemoSourceResource(source=source),
        "fetcher": DemoFetcherResource(
            source=source,
            deployment_fields=settings.fetch_deployment(),
            not_taken=[variable(name) for name in _NOT_TAKEN if settings.changed(name)],
        ),
    }


class DemoSourceResource(SourceResource):
    """The embedded corpus as source shards. It is written when it is first used."""

    def shards(self) -> dict[str, SourceShard]:
        """Every shard of the corpus by its key."""
        write_demo_source(Path(self.source), SAMPLES)
        return super().shards()

    def shard(self, key: str) -> SourceShard:
        """One shard of the corpus."""
        write_demo_source(Path(self.source), SAMPLES)
        return super().shard(key)


def write_demo_source(folder: Path, samples: int) -> None:
    """Write the corpus as source shards to `folder`, and its truth to the folder `truth` next to it, unless shards exist.

    Raises:
        UserError: the folder cannot be written to.
    """
    from laion_coco_assets.demo.corpus import build_corpus
    from laion_coco_assets.demo.corpus_files import write_sources, write_truth

    if any(folder.glob("*.parquet")):
        return
    corpus = build_corpus(samples, SHARDS)
    try:
        write_truth(folder.parent / "truth", corpus)
        with TemporaryDirectory(dir=folder.parent) as scratch:
            write_sources(Path(scratch) / "source", corpus)
            (Path(scratch) / "source").replace(folder)  # all shards at once, or none
    except OSError as error:
        raise UserError(f"{folder.parent} cannot be written to: {error.strerror}") from None


class DemoFetcherResource(FetcherResource):
    """A fetcher for the corpus: its URLs' host is a server on this machine's loopback, alive while images are fetched."""

    source: str = Field(description="The corpus' source folder.")
    not_taken: list[str] = Field(default_factory=list, description="Variables that are set but ignored by the demo.")

    @contextmanager
    def open(self, settings: FetchSettings) -> Iterator[Fetcher]:
        """A fetcher, with the server running. Raises UserError when the shards are not the corpus'."""
        from laion_coco_assets.demo.corpus import build_corpus
        from laion_coco_assets.demo.sample_urls import HOST
        from laion_coco_assets.demo.server import CorpusServer
        from laion_coco_assets.fetching.fetcher import Fetcher

        if self.not_taken:
            dg.get_dagster_logger().warning(
                f"{', '.join(self.not_taken)}: not used by the demo, which fetches only from its own server"
            )
        with CorpusServer(build_corpus(self._samples(), SHARDS)) as server:
            own = {
                "hosts": {HOST: f"127.0.0.1:{server.port}"},
                "allow_networks": ("127.0.0.0/8",),  # only the server's; the redirects' private network stays closed
                "breaker_failures": 0,  # the one host stands for many: one row's failure says nothing about others
            }
            with Fetcher(settings, self.deployment().model_copy(update=own)) as fetcher:
                yield fetcher

    def _samples(self) -> int:
        truth = (Path(self.source).parent / "truth").glob("*.parquet")
        samples = sum(int(pq.read_metadata(file).num_rows) for file in truth)
        if not samples:
            raise UserError(
                f"{self.source} holds other shards than the demo's. Without a configured source, a profile based on `demo` "
                "fetches only the demo's images. For your own shards, set LAION_COCO_PROFILE / --profile to laion-coco, or "
                "LAION_COCO_SOURCE / --source to their folder; for the demo's shards, set LAION_COCO_DATA_DIR to another folder"
            )
        return samples
