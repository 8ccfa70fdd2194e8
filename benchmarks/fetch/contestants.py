"""The contestants of the fetch benchmark: how to run each, and how to count its images."""

import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from laion_coco_assets.errors import UserError

IMG2DATASET: Final = "1.47.0"
#: img2dataset imports imghdr, which Python 3.13 removed, and pkg_resources, which newer setuptools lack.
_REQUIREMENTS: Final = (f"img2dataset=={IMG2DATASET}", "setuptools<81")
_PYTHON: Final = "3.11"


@dataclass(frozen=True)
class Contestant:
    """A program that fetches a parquet of URLs (`source`) into an empty folder (`out`)."""

    name: str
    command: Callable[[Path, Path, int], list[str]]  # source, out, rows
    environment: dict[str, str]
    images: Callable[[Path], int]  # how many images a filled `out` contains


def ours(certificates: Path, concurrency: int) -> Contestant:
    """This project's fetcher. It decodes every image in full as a check and keeps the original bytes, in parquet."""

    def command(source: Path, out: Path, _rows: int) -> list[str]:
        script = Path(__file__).with_name("own_fetcher.py")
        return [sys.executable, "-P", str(script), str(source), str(out), str(concurrency)]

    def images(out: Path) -> int:
        return int(json.loads((out / "images.json").read_text(encoding="ascii")))

    return Contestant("ours", command, {"SSL_CERT_FILE": str(certificates / "bundle.pem")}, images)


def img2dataset(certificates: Path, concurrency: int, *, hashed: bool) -> Contestant:
    """img2dataset, which keeps the original bytes (`resize_mode=no`, `skip_reencode`) and so decodes nothing.

    It runs one process per core. It creates a TLS context for every request, which reads all trusted certificates. With
    `hashed`, they are in a folder where OpenSSL looks up only the one that it needs.

    Raises:
        UserError: its environment cannot be created.
    """
    program = _environment() / "bin" / "img2dataset"
    processes = os.cpu_count() or 1

    def command(source: Path, out: Path, rows: int) -> list[str]:
        options = {
            "url_list": source,
            "input_format": "parquet",
            "url_col": "URL",
            "output_folder": out / "images",
            "output_format": "webdataset",
            "processes_count": processes,
            "thread_count": max(1, concurrency // processes),
            "number_sample_per_shard": max(1, -(-rows // (2 * processes))),
            "resize_mode": "no",
            "skip_reencode": True,
            "timeout": 30,
            "enable_wandb": False,
        }
        return [str(program), *(f"--{name}={value}" for name, value in options.items())]

    def images(out: Path) -> int:
        stats = (out / "images").glob("*_stats.json")
        return sum(json.loads(file.read_text(encoding="utf-8"))["successes"] for file in stats)

    trusted = {"SSL_CERT_FILE": str(certificates / "bundle.pem")}
    if hashed:
        trusted = {"SSL_CERT_FILE": str(certificates / "none.pem"), "SSL_CERT_DIR": str(certificates / "hashed")}
    name = "img2dataset_hashed_ca" if hashed else "img2dataset"
    return Contestant(name, command, {"NO_ALBUMENTATIONS_UPDATE": "1", **trusted}, images)


def write_certificates(folder: Path, addresses: list[str]) -> None:
    """Create a CA for this run and a server certificate.

    The servers use `certificate.pem` and `key.pem`. The clients use `bundle.pem` (the system's authorities and ours) or
    `hashed/`.

    Raises:
        UserError: trustme or the program openssl is missing.
    """
    try:
        import trustme
    except ImportError:
        raise UserError("the fetch benchmark needs trustme for its certificates: `uv sync` installs it") from None
    authority = trustme.CA()
    server = authority.issue_cert(*addresses)
    server.private_key_pem.write_to_path(folder / "key.pem")
    for place, blob in enumerate(server.cert_chain_pems):
        blob.write_to_path(folder / "certificate.pem", append=place > 0)
    system = ssl.get_default_verify_paths().cafile
    shutil.copy(system, folder / "bundle.pem") if system else (folder / "bundle.pem").touch()
    authority.cert_pem.write_to_path(folder / "bundle.pem", append=True)
    (folder / "hashed").mkdir()
    authority.cert_pem.write_to_path(folder / "hashed" / "authority.pem")
    _run(["openssl", "rehash", str(folder / "hashed")], "creates the hashed folder of certificates")


def _environment() -> Path:
    """A virtual environment with img2dataset, created on the first call. Its requirements conflict with ours."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "laion-coco-assets"
    folder = cache / f"img2dataset-{IMG2DATASET}"
    done = folder / "complete"
    if not done.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _run(
            ["uv", "venv", "--quiet", "--clear", "--python", _PYTHON, str(folder)], "creates img2dataset's environment"
        )
        python = str(folder / "bin" / "python")
        _run(["uv", "pip", "install", "--quiet", "--python", python, *_REQUIREMENTS], "installs img2dataset")
        done.touch()
    return folder


def _run(command: list[str], what: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - fixed programs
    except FileNotFoundError:
        raise UserError(f"{command[0]} is not installed; it {what}") from None
    except subprocess.CalledProcessError as error:
        raise UserError(f"{command[0]}, which {what}, failed: {error.stderr.strip()[-800:]}") from None
