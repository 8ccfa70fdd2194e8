"""Model files from the Hugging Face hub at a pinned revision, or from its cache when there is no network."""

import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import huggingface_hub
from huggingface_hub import errors
from huggingface_hub.hf_api import ModelInfo

from laion_coco_assets.errors import ModelUnavailableError

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
#: No answer about a repository within so many seconds counts as no network. A download may take as long as it needs.
_ANSWER_S: Final = 20.0


@dataclass(frozen=True)
class HubModel:
    """A model on the hub, and the words for what to do when it can not be had."""

    repo: str
    revision: str
    #: Names of the files to fetch, out of those that there are; none when what there is does not suffice.
    choose: Callable[[frozenset[str]], list[str]]
    size: str
    include: tuple[str, ...]
    setting: str

    def fetch(self) -> Path:
        """The folder of the hub's cache with the chosen files; its name is the commit.

        A pinned commit that is in the cache is taken from there without any network.

        Raises:
            ModelUnavailableError: neither in the cache nor to be downloaded.
        """
        cached = self._cached()
        if cached and _COMMIT.fullmatch(self.revision):
            return cached
        try:
            info = self._ask()
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
            raise self._unavailable(f"the hub has no such model, or not for you: {_first_line(error)}") from error
        except Exception as error:  # of any HTTP library: the hub's client has changed it before
            if cached:
                return cached
            raise self._unavailable(f"the hub can not be reached: {_first_line(error)}") from error
        files = self.choose(frozenset(each.rfilename for each in info.siblings or ()))
        if not files:
            raise self._unavailable("the hub's repository lacks the configuration, the tokenizer or the weights")
        return self._download(files, info.sha or self.revision)

    def command(self) -> str:
        """What fetches the model into the hub's cache."""
        patterns = "".join(f" --include '{each}'" for each in self.include)
        return f"hf download {self.repo} --revision {self.revision}{patterns}"

    def _cached(self) -> Path | None:
        """The cache's folder for this revision, if it is complete."""
        for name in ("config.json", "open_clip_config.json", *self.include):
            found = huggingface_hub.try_to_load_from_cache(self.repo, name, revision=self.revision)
            if isinstance(found, str):
                folder = Path(found).parent
                return folder if self.choose(frozenset(each.name for each in folder.iterdir())) else None
        return None

    def _ask(self) -> ModelInfo:
        """What the hub has. Bounded in time as a whole, since looking up a name is not: a resolver may take minutes."""
        answer: Future[ModelInfo] = Future()

        def ask() -> None:
            try:
                answer.set_result(
                    huggingface_hub.HfApi().model_info(self.repo, revision=self.revision, timeout=_ANSWER_S / 2)
                )
            except Exception as error:  # noqa: BLE001 - handed over to the thread that waits
                answer.set_exception(error)

        threading.Thread(target=ask, daemon=True, name=f"ask for {self.repo}").start()
        try:
            return answer.result(timeout=_ANSWER_S)
        except TimeoutError:
            raise ConnectionError(f"no answer within {_ANSWER_S:.0f} s") from None

    def _download(self, files: list[str], commit: str) -> Path:
        folder = None
        for name in files:
            try:
                folder = Path(huggingface_hub.HfApi().hf_hub_download(self.repo, name, revision=commit)).parent
            except Exception as error:  # as above
                raise self._unavailable(f"{name} can not be downloaded: {_first_line(error)}") from error
        assert folder is not None, "choose() named files"  # noqa: S101
        return folder

    def _unavailable(self, why: str) -> ModelUnavailableError:
        return ModelUnavailableError(
            f"the model {self.repo} at revision {self.revision} (from the Hugging Face hub, {self.size}) "
            f"can not be had: {why}\n"
            f"Where there is a network, this fetches it: {self.command()}\n"
            f"Or name a local copy of it with {self.setting} in the profile "
            f"(the same command with --local-dir FOLDER makes one)."
        )


def gigabytes(parameters: int | None) -> str:
    """How large so many parameters are in a file."""
    if parameters is None:
        return "of unknown size"
    return f"about {parameters * 4 / 1e9:.1f} GB, half of that if it is stored in half precision"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
