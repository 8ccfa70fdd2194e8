"""The URLs of the demo's samples: like those of shops, blogs and photo pages, and a few that no fetcher may open."""

import hashlib
from random import Random

from laion_coco_assets.demo.behaviours import Behaviour
from laion_coco_assets.demo.picture_formats import Format
from laion_coco_assets.demo.scenes import Scene

HOST = "demo.laion-coco.test"


def sample_url(scene: Scene, index: int, behaviour: Behaviour, picture_format: Format, rng: Random) -> str:
    """The URL of sample `index`, which shows `scene` and behaves like `behaviour`. Each sample has its own."""
    extension = _extension(behaviour, picture_format, rng)
    return _unusual_url(behaviour, _url(scene, index, extension, rng), rng)


def _url(scene: Scene, index: int, extension: str, rng: Random) -> str:
    group = scene.groups[0]
    number = f"{index:05d}{rng.randint(10, 99)}"
    name = f"{group.colour}-{group.kind}"
    return f"http://{HOST}" + rng.choice(
        (
            f"/shop/{number}/{name}.{extension}",
            f"/wp-content/uploads/20{rng.randint(12, 22)}/0{rng.randint(1, 9)}/{name}-{number}.{extension}",
            f"/media/catalog/product/{name[0]}/{number}_{rng.randint(1, 4)}.{extension}",
            f"/photos/{number}/large?w=640&fit=crop",
            f"/i/{hashlib.sha256(number.encode()).hexdigest()[:16]}.{extension}",
            f"/galer%C3%ADa/{number}/{name}%20(1).{extension}",
        )
    )


def _extension(behaviour: Behaviour, picture_format: Format, rng: Random) -> str:
    if behaviour in ("svg", "tiff"):
        return behaviour
    if picture_format.startswith("png"):
        return "jpg" if rng.random() < 0.3 else "png"
    return {"webp": "webp", "gif": "gif"}.get(picture_format, "jpg")


def _unusual_url(behaviour: Behaviour, url: str, rng: Random) -> str:
    path = url.removeprefix(f"http://{HOST}")
    if behaviour == "malformed_url":
        number = path.strip("/").replace("/", "-")
        return rng.choice((f"http:///{number}", f"not a url {number}", f"http://[{HOST}/{number}"))
    prefixes: dict[Behaviour, str] = {
        "ftp": f"ftp://{HOST}",
        "credentials": f"http://admin:secret@{HOST}",
        "unknown_host": "http://no-such-host.invalid",
    }
    return prefixes.get(behaviour, f"http://{HOST}") + path
