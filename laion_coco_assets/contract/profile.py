"""A profile: every setting that can change an output, frozen. `profile_files` reads it from TOML.

What cannot change an output (device, dtype, batch sizes, concurrency, where data lies) is a setting of the deployment,
see `laion_coco_assets.settings`.
"""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from laion_coco_assets.contract.extensions import is_dotted_path

#: The largest `max_samples`: more rows than any shard has.
MOST_SAMPLES = 999_999_999


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class FetchSettings(_Section):
    """The settings that decide whether a URL becomes an image, and which image."""

    user_agent: str = Field(min_length=1, description="honest, with a contact URL")
    total_timeout_s: float = Field(
        gt=0, le=600, description="from the first DNS look-up to the last byte, redirects included"
    )
    connect_timeout_s: float = Field(gt=0, le=600)
    max_redirects: int = Field(ge=0, le=20)
    retries: int = Field(ge=0, le=10, description="further attempts after a transient failure")
    max_bytes: int = Field(gt=0, le=1 << 30)
    max_pixels: int = Field(gt=0, le=1 << 28)
    min_side: int = Field(ge=1, description="pixels of the shorter side; an image with fewer is too_small")
    max_aspect_ratio: float = Field(ge=1, description="longer side over shorter side")
    respect_opt_out: bool = Field(description="refuse images whose response opts out of machine learning")
    perceptual_hash: bool = Field(
        default=False, description="record each image's 64-bit DCT hash, to find near duplicates"
    )
    robots: bool = Field(
        default=False,
        description="read each host's robots.txt first, and follow what it says to user_agent's product token",
    )
    max_samples: int | None = Field(
        default=None,
        ge=1,
        le=MOST_SAMPLES,
        exclude_if=lambda rows: rows is None,  # the fingerprint of a whole shard does not contain the key
        description="a trial: only the first rows of each shard, this many",
    )


class _ModelSource(_Section):
    """What every model's section has: the class that runs it, its name, and where its weights come from."""

    name: str = Field(min_length=1, description="what the model is called")
    revision: str = Field(default="main", min_length=1, description="which version of the model")
    type: str = Field(
        default="",
        exclude_if=lambda kind: not kind,  # files made before the key existed keep their fingerprint
        description="`package.module:Class` of a model of another kind; without it, the built-in kind",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        exclude_if=lambda options: not options,
        description="settings for a model of another kind; part of the fingerprint",
    )

    def __hash__(self) -> int:
        """Models are cached by their settings, and `options`, a dictionary, has no hash."""
        return hash((type(self), self.model_dump_json()))

    @property
    def label(self) -> str:
        """The model's name for people: on the data card, over the columns of pages, in the titles of histograms.

        A hub's name without the owner before its slash.
        """
        return self.name.rpartition("/")[2] or self.name

    @model_validator(mode="after")
    def _options_have_a_type(self) -> Self:
        if self.options and not self.type:
            raise ValueError("options: the built-in model takes no options; name the `type` that does")
        if self.type and not is_dotted_path(self.type):
            raise ValueError(f"type: should be of the form package.module:Class, not {self.type!r}")
        return self


class CaptionerSource(_ModelSource):
    """The captioner: BLIP's weights (a hub name at a revision, or a local transformers folder), or another `type`."""

    name: str = Field(min_length=1, description="hub name")
    revision: str = Field(default="main", min_length=1, description="commit of the hub's repository")
    path: Path | None = Field(default=None, strict=False, description="a local folder instead of the hub")


class RankerSource(_ModelSource):
    """The ranker: a CLIP by open_clip's names or a local copy, or another `type`.

    `path` is a folder in open_clip's own format (open_clip_config.json and weights), or one weights file for the
    architecture `name`. `pretrained` also says how the weights were trained: OpenAI's use QuickGELU.
    """

    name: str = Field(min_length=1, description="open_clip's name of the architecture")
    pretrained: str = Field(default="", description="open_clip's tag of the weights")
    revision: str = Field(default="main", min_length=1, description="commit of the hub repository open_clip names")
    path: Path | None = Field(default=None, strict=False, description="a local folder or file instead of the hub")

    @model_validator(mode="after")
    def _open_clip_names_weights(self) -> Self:
        if not self.type and not self.pretrained:
            raise ValueError("pretrained: missing")
        return self


class MaxLength(_Section):
    """This many candidates may grow to this many tokens after the prompt."""

    tokens: int = Field(ge=1, le=500)
    candidates: int = Field(ge=1)


class CaptionSettings(_Section):
    """BLIP's sampling. The profile `laion-coco` has the original worker's settings."""

    model: CaptionerSource
    seed: int = Field(ge=0, lt=1 << 63)
    prompt: str
    top_p: float = Field(gt=0, le=1)
    top_k: int = Field(ge=1)
    temperature: float = Field(gt=0)
    repetition_penalty: float = Field(ge=1)
    min_length: int = Field(ge=0, description="tokens after the prompt before which the end is masked")
    max_lengths: tuple[MaxLength, ...] = Field(min_length=1, strict=False)
    forced_end: float = Field(gt=0, le=1, description="a candidate ends when its raw p(EOS) exceeds this; 1: never")

    @property
    def candidates(self) -> int:
        """How many captions are drawn for an image."""
        return sum(length.candidates for length in self.max_lengths)

    @model_validator(mode="after")
    def _min_below_max(self) -> Self:
        shortest = min(length.tokens for length in self.max_lengths)
        if self.min_length > shortest:
            raise ValueError(f"min_length is {self.min_length}, above the shortest max length of {shortest}")
        return self


class RankSettings(_Section):
    """A CLIP that scores captions, and how many of the best are kept."""

    model: RankerSource
    keep: int = Field(ge=1, le=1000)


class FinalSettings(_Section):
    """The CLIP that picks the winner among the kept captions."""

    model: RankerSource


class PublishSettings(_Section):
    """What decides whether a captioned sample is published."""

    title: str = Field(min_length=1, description="the data set's name on its card")


class Profile(_Section):
    """Every setting that can change an output, and the classes that make it.

    Without `final`, the first ranker's best caption wins, as in the worker's last mode.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=63)]
    fetch: FetchSettings
    caption: CaptionSettings
    rank: RankSettings
    final: FinalSettings | None = None
    publish: PublishSettings
    stages: tuple[str, ...] = Field(
        default=(), strict=False, description="further stages, as package.module:Class; see docs/extending.md"
    )
    stage_settings: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="settings of a further stage, by its name; part of its fingerprint"
    )
    sources: tuple[str, ...] = Field(
        default=(), strict=False, description="further source formats, as package.module:Class"
    )
    resources: str = Field(
        default="",
        description="package.module:function whose resources replace the deployment's, as the demo's does",
    )

    @property
    def ranker_labels(self) -> tuple[str, ...]:
        """The names for people of the first ranker and, if there is one, the final ranker."""
        sections = (self.rank, self.final)
        return tuple(section.model.label for section in sections if section is not None)

    def capped(self, max_samples: int) -> Self:
        """The same profile for a trial on the first `max_samples` rows of each shard."""
        return self.model_copy(update={"fetch": self.fetch.model_copy(update={"max_samples": max_samples})})

    @model_validator(mode="after")
    def _keep_within_candidates(self) -> Self:
        if self.rank.keep > self.caption.candidates:
            raise ValueError(f"rank.keep is {self.rank.keep}, but only {self.caption.candidates} captions are drawn")
        return self
