"""Column descriptions that name a profile's rankers in place of their roles."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from laion_coco_assets.contract.columns import Column
from laion_coco_assets.contract.profile import Profile

#: Columns that only a final ranker fills.
_FINAL_COLUMNS: Final = frozenset({"final_similarities", "alt_text_final_similarity"})
_ROLES: Final = ("the first ranker", "the final ranker")


def with_ranker_labels(columns: Iterable[Column], profile: Profile) -> list[Column]:
    """The columns, with descriptions that name the profile's rankers."""
    return [_with_labels(column, profile) for column in columns]


def _with_labels(column: Column, profile: Profile) -> Column:
    if profile.final is None and column.name in _FINAL_COLUMNS:
        return replace(column, description="null in every row of this data set")
    description = column.description
    for role, label in zip(_ROLES, profile.ranker_labels, strict=False):
        description = description.replace(role, label)
    return replace(column, description=description)
