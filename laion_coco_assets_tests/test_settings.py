"""A deployment's settings come from the environment, and a wrong one is named."""

from pathlib import Path

import pytest
import typer

from laion_coco_assets.cli.main import app
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.errors import UserError
from laion_coco_assets.fetching.deployment import FetchDeployment
from laion_coco_assets.resources.build_resources import build_resources
from laion_coco_assets.settings import Settings, fetcher_fields, flag, is_list, shown, variable
from tools import settings_table


def test_settings_come_from_the_environment() -> None:
    environ = {"LAION_COCO_DATA_DIR": "/d", "LAION_COCO_ALLOW_NETWORKS": "10.0.0.0/8,::1/128", "HOME": "/"}
    environ |= {"LAION_COCO_HOST_SPACING": "0.5", "LAION_COCO_FETCH_REQUESTS_PER_HOST": "3"}
    settings = Settings.from_environment(environ)
    assert settings.data_dir == "/d"
    assert settings.source_or_default == "/d/source"
    assert settings.allow_networks == ("10.0.0.0/8", "::1/128")
    assert settings.profile == "demo"
    assert settings.host_spacing == 0.5
    fetcher = build_resources(settings, load_profile("laion-coco"))["fetcher"]
    assert fetcher.deployment().host_spacing_s == 0.5
    assert fetcher.deployment().requests_per_host == 3


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("LAION_COCO_BATCHSIZE", "8", "names no setting; the settings are LAION_COCO_PROFILE, "),
        ("LAION_COCO_BATCH_SIZE", "many", "valid integer, unable to parse string as an integer, not 'many'"),
        ("LAION_COCO_BATCH_SIZE", "-1", "greater than or equal to 0, not '-1'"),
        ("LAION_COCO_HOST_SPACING", "nan", "should be"),
        ("LAION_COCO_SCHEDULE_CRON", "61 * * * *", "should be a cron schedule, such as 0 * * * *, not '61 * * * *'"),
        ("LAION_COCO_REFETCH_CRON", "daily at noon", "should be a cron schedule"),
        ("LAION_COCO_OWNERS", "me", "should be addresses, or teams such as team:data, not ('me',)"),
        ("LAION_COCO_ALLOW_NETWORKS", "everything", "does not appear to be an IPv4 or IPv6 network"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, value: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        Settings.from_environment({variable: value})
    assert str(error.value).startswith(f"{variable}: ")
    assert said in str(error.value)


def test_every_setting_of_the_fetcher_reaches_it_by_variable_and_by_flag() -> None:
    values = {
        "allow_networks": ("10.0.0.0/8", "192.168.0.0/16"),
        "host_spacing": 0.5,
        "fetch_concurrency": 48,
        "fetch_requests_per_host": 4,
        "fetch_look_ahead": 99,
        "fetch_byte_budget": 1 << 20,
        "fetch_decode_workers": 3,
        "fetch_decode_timeout_s": 30,
        "fetch_backoff_s": 2.0,
        "fetch_max_backoff_s": 12.5,
        "fetch_breaker_failures": 7,
        "fetch_breaker_open_s": 90.0,
        "fetch_nameservers": ("127.0.0.1:5353", "::1"),
        "fetch_ca_file": "/etc/ssl/mine.pem",
    }
    assert set(fetcher_fields().values()) == set(FetchDeployment.model_fields) - {"hosts"}  # the demo's and the tests'
    environ = {variable(name): ",".join(each) if is_list(name) else str(each) for name, each in values.items()}
    for settings in (Settings.from_environment(environ), Settings.from_flags(**values)):
        deployment = build_resources(settings, load_profile("laion-coco"))["fetcher"].deployment()
        given = {name: getattr(deployment, field) for name, field in fetcher_fields().items()}
        assert given == values | {"fetch_ca_file": Path("/etc/ssl/mine.pem")}


def test_without_settings_the_fetcher_has_its_own_defaults() -> None:
    assert build_resources(Settings(), load_profile("laion-coco"))["fetcher"].deployment() == FetchDeployment()


def test_the_reference_of_all_settings_is_up_to_date() -> None:
    assert settings_table.PAGE.read_text(encoding="utf-8") == settings_table.page(), (
        "docs/settings.md: run `uv run python -m tools.settings_table`"
    )


@pytest.mark.parametrize(
    "command", sorted({command for name in Settings.model_fields for command in shown(name).commands})
)
def test_a_command_takes_the_flags_that_the_table_names(command: str) -> None:
    declared = {flag(name) for name in Settings.model_fields if command in shown(name).commands}
    taken = _flags(command) & {flag(name) for name in Settings.model_fields}
    assert declared <= taken
    if command != "bench":  # whose batch size and profile are its own
        assert taken - declared <= {"--profile"}  # that `check` and `clean` compare with


def _flags(command: str) -> set[str]:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    return {opt for parameter in group.commands[command].params for opt in parameter.opts}
