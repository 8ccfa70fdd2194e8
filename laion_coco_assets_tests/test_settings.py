"""A deployment's settings come from the environment, and a wrong one is named."""

import pytest
from pydantic import ValidationError

from laion_coco_assets.contract.profile import load_profile
from laion_coco_assets.errors import UserError
from laion_coco_assets.fetching.deployment import FetchDeployment
from laion_coco_assets.resources.build import build_resources
from laion_coco_assets.settings import Settings


def test_settings_come_from_the_environment() -> None:
    environ = {"LAION_COCO_DATA_DIR": "/d", "LAION_COCO_ALLOW_NETWORKS": "10.0.0.0/8,::1/128", "HOME": "/"}
    environ |= {"LAION_COCO_HOST_SPACING": "0.5", "LAION_COCO_FETCH_LANES": "3"}
    settings = Settings.from_environment(environ)
    assert settings.data_dir == "/d"
    assert settings.source_or_default == "/d/source"
    assert settings.allow_networks == ("10.0.0.0/8", "::1/128")
    assert settings.profile == "demo"
    assert settings.host_spacing == 0.5
    fetcher = build_resources(settings, load_profile("laion-coco"))["fetcher"]
    assert fetcher.deployment().host_spacing_s == 0.5
    assert fetcher.deployment().lanes == 3


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("LAION_COCO_BATCHSIZE", "8", "names no setting; the settings are LAION_COCO_PROFILE, "),
        ("LAION_COCO_BATCH_SIZE", "many", "valid integer, unable to parse string as an integer, not 'many'"),
        ("LAION_COCO_BATCH_SIZE", "-1", "greater than or equal to 0, not '-1'"),
        ("LAION_COCO_HOST_SPACING", "nan", "should be"),
        ("LAION_COCO_SCHEDULE_CRON", "61 * * * *", "should be a cron schedule, as 0 * * * *, not '61 * * * *'"),
        ("LAION_COCO_REFETCH_CRON", "daily at noon", "should be a cron schedule"),
        ("LAION_COCO_ALLOW_NETWORKS", "everything", "does not appear to be an IPv4 or IPv6 network"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, value: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        Settings.from_environment({variable: value})
    assert str(error.value).startswith(f"{variable}: ")
    assert said in str(error.value)


def test_more_lanes_than_requests_in_flight_are_an_error_that_names_flag_or_variable() -> None:
    said = "should be at most 8, the requests in flight that lanes share"
    with pytest.raises(UserError, match=f"^--fetch-lanes: {said}, not 9$"):
        Settings.from_flags(fetch_concurrency=8, fetch_lanes=9)
    with pytest.raises(UserError, match=f"^LAION_COCO_FETCH_LANES: {said}, not '9'$"):
        Settings.from_environment({"LAION_COCO_FETCH_CONCURRENCY": "8", "LAION_COCO_FETCH_LANES": "9"})
    with pytest.raises(ValidationError, match=said):
        FetchDeployment(concurrency=8, lanes=9)
    assert FetchDeployment(concurrency=8, lanes=8).lane().concurrency == 1
