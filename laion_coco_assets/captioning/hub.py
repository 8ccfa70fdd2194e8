"""Fetches model files from the Hugging Face hub at a pinned revision, or from its cache without a network."""

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
#: When the hub does not answer within this many seconds, it counts as unreachable. A download may take any time.
_ANSWER_S: Final = 20.0


@dataclass(frozen=True)
class HubModel:
    """A model on the hub, and what an error message says when it is not available."""

    repo: str
    revision: str
    #: Chooses the files to fetch from the existing ones. Empty when a needed file is missing.
    choose: Callable[[frozenset[str]], list[str]]
    size: str
    include: tuple[str, ...]
    setting: str

    def fetch(self) -> Path:
        """The folder of the hub's cache that holds the chosen files. Its name is the commit.

        A pinned commit in the cache is used without any network.

        Raises:
            ModelUnavailableError: it is not in the cache and cannot be downloaded.
        """
        cached = self._cached()
        if cached and _COMMIT.fullmatch(self.revision):
            return cached
        try:
            info = self._ask()
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
            raise self._unavailable(
                f"the hub has no such model, or you have no access to it: {_first_line(error)}"
            ) from error
        except Exception as error:  # of any HTTP library: the hub's client has changed its library before
            if cached:
                return cached
            raise self._unavailable(f"the hub cannot be reached: {_first_line(error)}") from error
        files = self.choose(frozenset(file.rfilename for file in info.siblings or ()))
        if not files:
            raise self._unavailable("the hub's repository lacks the configuration, the tokenizer or the weights")
        return self._download(files, info.sha or self.revision)

    def command(self) -> str:
        """The command that fetches the model into the hub's cache."""
        patterns = "".join(f" --include '{pattern}'" for pattern in self.include)
        return f"hf download {self.repo} --revision {self.revision}{patterns}"

    def _cached(self) -> Path | None:
        """The cache's folder for this revision, if it is complete."""
        for name in ("config.json", "open_clip_config.json", *self.include):
            cached_file = huggingface_hub.try_to_load_from_cache(self.repo, name, revision=self.revision)
            if isinstance(cached_file, str):
                folder = Path(cached_file).parent
                return folder if self.choose(frozenset(path.name for path in folder.iterdir())) else None
        return None

    def _ask(self) -> ModelInfo:
        """Ask the hub about the repository. The time limit covers the DNS lookup, which may take minutes on its own."""
        answer: Future[ModelInfo] = Future()

        def ask() -> None:
            try:
                answer.set_result(
                    huggingface_hub.HfApi().model_info(self.repo, revision=self.revision, timeout=_ANSWER_S / 2)
                )
            except Exception as error:  # noqa: BLE001 - raised in the waiting thread
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
                raise self._unavailable(f"{name} cannot be downloaded: {_first_line(error)}") from error
        assert folder is not None, "choose() named files"  # noqa: S101
        return folder

    def _unavailable(self, why: str) -> ModelUnavailableError:
        return ModelUnavailableError(
            f"the model {self.repo} at revision {self.revision} (from the Hugging Face hub, {self.size}) "
            f"is not available: {why}\n"
            f"With a network, this command fetches it: {self.command()}\n"
            f"Or name a local copy with {self.setting} in the profile "
            f"(the same command with --local-dir FOLDER makes one)."
        )


def gigabytes(parameters: int | None) -> str:
    """The size of a file with this many parameters, in words."""
    if parameters is None:
        return "of unknown size"
    return f"about {parameters * 4 / 1e9:.1f} GB, half of that if stored in half precision"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
