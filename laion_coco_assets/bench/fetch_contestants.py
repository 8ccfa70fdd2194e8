"""Who takes part in `bench fetch`: how each is called, and how many images it says it got."""

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
#: imghdr, which it imports, left the standard library in 3.13; newer setuptools have no pkg_resources.
_REQUIREMENTS: Final = (f"img2dataset=={IMG2DATASET}", "setuptools<81")
_PYTHON: Final = "3.11"


@dataclass(frozen=True)
class Contestant:
    """A program that fetches a parquet of URLs (`source`) into an empty folder (`out`)."""

    name: str
    command: Callable[[Path, Path, int], list[str]]  # source, out, rows
    environment: dict[str, str]
    images: Callable[[Path], int]  # of an `out` that it has filled


def ours(certificates: Path, concurrency: int) -> Contestant:
    """This project's fetcher: every image decoded in full as a check, original bytes kept, parquet."""

    def command(source: Path, out: Path, _rows: int) -> list[str]:
        module = "laion_coco_assets.bench.fetch_ours"
        return [sys.executable, "-P", "-m", module, str(source), str(out), str(concurrency)]

    def images(out: Path) -> int:
        return int(json.loads((out / "images.json").read_text(encoding="ascii")))

    return Contestant("ours", command, {"SSL_CERT_FILE": str(certificates / "bundle.pem")}, images)


def img2dataset(certificates: Path, concurrency: int, *, hashed: bool) -> Contestant:
    """img2dataset keeping original bytes (`resize_mode=no`, `skip_reencode`): it then decodes nothing. One process a core.

    It makes a TLS context for every request, which reads all trusted certificates; with `hashed` they lie in a folder
    in which OpenSSL looks up the one it needs.

    Raises:
        UserError: its environment can not be made.
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
        return sum(json.loads(each.read_text(encoding="utf-8"))["successes"] for each in stats)

    trusted = {"SSL_CERT_FILE": str(certificates / "bundle.pem")}
    if hashed:
        trusted = {"SSL_CERT_FILE": str(certificates / "none.pem"), "SSL_CERT_DIR": str(certificates / "hashed")}
    name = "img2dataset_hashed_ca" if hashed else "img2dataset"
    return Contestant(name, command, {"NO_ALBUMENTATIONS_UPDATE": "1", **trusted}, images)


def write_certificates(folder: Path, addresses: list[str]) -> None:
    """A CA for this run and a server's certificate: `certificate.pem` and `key.pem` for the servers; `bundle.pem` (the
    system's authorities and ours, as a client has them) and `hashed/` for the clients.

    Raises:
        UserError: trustme or the program openssl is missing.
    """
    try:
        import trustme
    except ImportError:
        raise UserError("`bench fetch` needs trustme for its certificates: install laion-coco-assets[bench]") from None
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
    _run(["openssl", "rehash", str(folder / "hashed")], "makes the hashed folder of certificates")


def _environment() -> Path:
    """A virtual environment with img2dataset, made at the first call: its pins do not fit ours."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "laion-coco-assets"
    folder = cache / f"img2dataset-{IMG2DATASET}"
    done = folder / "complete"
    if not done.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _run(["uv", "venv", "--quiet", "--clear", "--python", _PYTHON, str(folder)], "makes img2dataset's environment")
        python = str(folder / "bin" / "python")
        _run(["uv", "pip", "install", "--quiet", "--python", python, *_REQUIREMENTS], "installs img2dataset")
        done.touch()
    return folder


def _run(command: list[str], what: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - fixed programs
    except FileNotFoundError:
        raise UserError(f"{command[0]} {what}, and is not installed") from None
    except subprocess.CalledProcessError as error:
        raise UserError(f"{command[0]}, which {what}, failed: {error.stderr.strip()[-800:]}") from None
