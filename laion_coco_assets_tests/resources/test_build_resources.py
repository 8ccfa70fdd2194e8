"""A profile's key `resources`: the demo's come from outside, and so may anybody's."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.demo.resources import DemoFetcherResource, DemoSourceResource
from laion_coco_assets.errors import ProfileError
from laion_coco_assets.resources.build_resources import build_resources
from laion_coco_assets.resources.fetcher_resource import FetcherResource
from laion_coco_assets.resources.removals_resource import RemovalsResource
from laion_coco_assets.settings import Settings
from laion_coco_assets_tests.conftest import demo_settings


def resources(folder: Path, key: str = "", **settings: Any) -> dict[str, Any]:
    """The resources of a profile that is based on the demo's, with a line of its own."""
    profile = folder / "mine.toml"
    profile.write_text(f'base = "demo"\nname = "mine"\n{key}\n')
    return build_resources(Settings(profile=str(profile), **settings), load_profile(profile))


def is_the_demos(built: dict[str, Any]) -> bool:
    demos = {isinstance(built["source"], DemoSourceResource), isinstance(built["fetcher"], DemoFetcherResource)}
    assert len(demos) == 1
    return demos.pop()


def test_the_demos_resources_are_named_by_its_profile(tmp_path: Path) -> None:
    demo, other = load_profile("demo"), load_profile("laion-coco")
    assert is_the_demos(build_resources(Settings(), demo))
    assert not is_the_demos(build_resources(Settings(), other))
    assert not is_the_demos(build_resources(Settings(source=str(tmp_path)), demo))


def test_a_profile_based_on_the_demos_inherits_its_resources_and_may_decline_them(tmp_path: Path) -> None:
    assert is_the_demos(resources(tmp_path))
    assert not is_the_demos(resources(tmp_path, source=str(tmp_path)))
    assert not is_the_demos(resources(tmp_path, 'resources = ""'))


def list_of_mine(_settings: Settings, _profile: object) -> dict[str, Any]:
    return {"removals": RemovalsResource(where="mine.txt")}


def unknown(_settings: Settings, _profile: object) -> dict[str, Any]:
    return {"fetchers": FetcherResource()}


def nothing(_settings: Settings, _profile: object) -> None:
    """Forgets to return."""


def test_a_profile_may_give_any_resource(tmp_path: Path) -> None:
    built = resources(tmp_path, f'resources = "{__name__}:list_of_mine"')
    assert built["removals"].where == "mine.txt"
    assert not is_the_demos(built)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"{__name__}:unknown", f"resources: {__name__}:unknown gives fetchers; it must give some of: store, source, "),
        (f"{__name__}:nothing", f"resources: {__name__}:nothing gives None; it must give some of: store, source, "),
        ("no.such.module:name", "resources: 'no.such.module:name' cannot be loaded"),
        ("laion", "resources: 'laion' is not of the form package.module:Name"),
    ],
)
def test_a_wrong_key_is_one_clear_error(path: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ProfileError) as error:
        resources(tmp_path, f'resources = "{path}"')
    assert str(error.value).startswith(message)


def test_the_demos_fetcher_takes_the_deployments_settings_and_says_which_it_cannot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"fetch_concurrency": 7, "host_spacing": 0.25, "fetch_requests_per_host": 3, "fetch_look_ahead": 12}
    not_taken = {"allow_networks": ("10.0.0.0/8",), "fetch_breaker_failures": 5}
    settings = demo_settings(tmp_path, 20, **given, **not_taken)
    fetcher = build_resources(settings, load_profile("demo"))["fetcher"]
    deployment = fetcher.deployment()
    assert (deployment.concurrency, deployment.host_spacing_s, deployment.requests_per_host) == (7, 0.25, 3)
    assert deployment.look_ahead == 12
    dg.get_dagster_logger().propagate = True
    with fetcher.open(load_profile("demo").fetch) as opened:
        used = opened._deployment
    assert (used.concurrency, used.allow_networks, used.breaker_failures) == (7, ("127.0.0.0/8",), 0)
    assert (
        "LAION_COCO_ALLOW_NETWORKS, LAION_COCO_FETCH_BREAKER_FAILURES: not used by the demo, "
        "which fetches only from its own server"
    ) in caplog.text


def test_the_demo_says_nothing_when_it_takes_every_setting(tmp_path: Path) -> None:
    settings = demo_settings(tmp_path, 20, fetch_concurrency=7)
    assert build_resources(settings, load_profile("demo"))["fetcher"].not_taken == []
