"""A deployment's settings describe themselves, and refuse what makes no sense."""

import math

import pytest
from pydantic import ValidationError

from laion_coco_assets.ahead import usable_cpus
from laion_coco_assets.fetching.deployment import FetchDeployment


def test_every_setting_has_a_description_and_a_default():
    for name, field in FetchDeployment.model_fields.items():
        assert field.description, name
        assert not field.is_required(), name


@pytest.mark.parametrize("name", ["host_spacing_s", "backoff_s", "max_backoff_s", "breaker_open_s"])
@pytest.mark.parametrize("seconds", [-1.0, math.inf, math.nan])
def test_durations_are_finite_and_not_negative(name: str, seconds: float):
    with pytest.raises(ValidationError):
        FetchDeployment(**{name: seconds})


def test_decoding_takes_one_process_per_core_and_at_most_eight_unless_told():
    assert FetchDeployment().decode_processes == min(8, usable_cpus())
    assert FetchDeployment(decode_workers=3).decode_processes == 3
