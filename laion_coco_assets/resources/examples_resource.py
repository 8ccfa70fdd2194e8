"""How the UI shows examples of what is published, as Dagster injects it."""

import dagster as dg
from pydantic import Field


class ExamplesResource(dg.ConfigurableResource["ExamplesResource"]):
    """What the UI shows beside the captions of the examples."""

    thumbnails: bool = Field(default=True, description="Keep thumbnails of six images in each event of `published`.")
