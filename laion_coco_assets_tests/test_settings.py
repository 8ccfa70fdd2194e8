"""A deployment's settings come from the environment, and a wrong one is named."""

import pytest

from laion_coco_assets.errors import UserError
from laion_coco_assets.settings import Settings


def test_settings_come_from_the_environment() -> None:
    environ = {"LAION_COCO_DATA_DIR": "/d", "LAION_COCO_ALLOW_NETWORKS": "10.0.0.0/8,::1/128", "HOME": "/"}
    settings = Settings.from_environment(environ)
    assert settings.data_dir == "/d"
    assert settings.source_or_default == "/d/source"
    assert settings.allow_networks == ("10.0.0.0/8", "::1/128")
    assert settings.profile == "demo"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("LAION_COCO_BATCHSIZE", "8", "names no setting; the settings are LAION_COCO_PROFILE, "),
        ("LAION_COCO_BATCH_SIZE", "many", "valid integer, unable to parse string as an integer, not 'many'"),
        ("LAION_COCO_BATCH_SIZE", "-1", "greater than or equal to 0, not '-1'"),
        ("LAION_COCO_ALLOW_NETWORKS", "everything", "does not appear to be an IPv4 or IPv6 network"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, value: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        Settings.from_environment({variable: value})
    assert str(error.value).startswith(f"{variable}: ")
    assert said in str(error.value)
