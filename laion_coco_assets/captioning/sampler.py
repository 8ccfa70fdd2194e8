"""BLIP's candidates for images: prefix-tree sampling with the worker's semantics."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import pad

from laion_coco_assets.ahead import ahead
from laion_coco_assets.captioning.batching import Batches
from laion_coco_assets.captioning.clock import NO_CLOCK, Clock
from laion_coco_assets.captioning.decoder import BlipDecoder, Prefixes, grow
from laion_coco_assets.captioning.filtering import StepDistribution, filter_step
from laion_coco_assets.captioning.loading import Blip
from laion_coco_assets.captioning.packing import pack
from laion_coco_assets.captioning.preparing import for_device, threads_for, to_device
from laion_coco_assets.captioning.random_numbers import uniforms
from laion_coco_assets.captioning.tree import Tokens, Tree
from laion_coco_assets.captioning.vision import encode_images
from laion_coco_assets.contract.profile import CaptionSettings
from laion_coco_assets.errors import DeviceError, ProfileError

#: A sample_id, and what `Captioner.prepare` made of its image.
Sample = tuple[str, torch.Tensor]


@dataclass(frozen=True)
class Candidates:
    """An image's distinct captions in sampling order (that of the first candidate who drew them).

    Parallel: `multiplicities[i]` candidates drew `captions[i]`, and its first one has `token_counts[i]` tokens after
    the prompt, the end not counted. Draws that left no text are in none of them.
    """

    captions: tuple[str, ...]
    multiplicities: tuple[int, ...]
    token_counts: tuple[int, ...]


class Captioner:
    """Draws an image's candidates.

    A sample's result is a function of its image, the settings, its sample_id and the model. Which other images are
    with it, in which order and how many at once changes no more than the last bit or two of a logit (matrix products
    round differently for different numbers of rows); a draw is another only if its uniform, or the edge of the nucleus,
    falls within that: by estimate one draw in a million in float32, and correspondingly more in half precision.

    Example:
        >>> captioner = Captioner(load_blip(profile.caption.model, device, dtype), profile.caption)
        >>> captioner.caption([image], [sample_id])[0].captions
    """

    def __init__(self, blip: Blip, settings: CaptionSettings, batch_size: int = 0, clock: Clock = NO_CLOCK) -> None:
        """Take over a model: on a CPU its layers are exchanged for ones whose weights are laid out for it.

        Args:
            blip: the model.
            settings: how to sample.
            batch_size: images at once, no part of the result; 0 picks itself from the device's free memory.
            clock: told of the stages `blip_preprocessing`, `blip_image` and `blip_decoding`.

        Raises:
            ProfileError: prompt and max lengths exceed what the model has positions for.
        """
        self._blip = blip
        self._settings = settings
        self._clock = clock
        pack(blip.model)
        self._decoder = BlipDecoder(blip.model)
        self._limits = np.repeat(
            [each.tokens for each in settings.max_lengths], [each.candidates for each in settings.max_lengths]
        )
        # As BLIP was trained: [CLS] becomes the start token, [SEP] is removed.
        inner = blip.tokenizer(settings.prompt, add_special_tokens=False)["input_ids"]
        self._prompt: list[int] = [blip.start_token, *inner]
        self._prompt_text: str = self._decode(())
        longest = len(self._prompt) + int(self._limits.max()) - 1
        if longest > blip.positions:
            raise ProfileError(
                f"caption.max_lengths: {int(self._limits.max())} tokens after a prompt of {len(self._prompt)} are more "
                f"than the {blip.positions} positions of {settings.model.path or settings.model.name}"
            )
        self._batches = Batches(batch_size, blip.device, _bytes_an_image(blip, len(self._limits), longest))

    @property
    def revision(self) -> str:
        """Of the model that was loaded."""
        return self._blip.revision

    @property
    def backed_off(self) -> int:
        """How often memory ran out, and fewer went together from then on."""
        return self._batches.backed_off

    @property
    def threads(self) -> int:
        """Of `prepare` at once, so that it keeps up with the device and takes nothing from it."""
        return threads_for(self._blip.device)

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """BLIP's input from an image of any mode and size: float32 [3, size, size]. May be called in threads."""
        return for_device(self._blip.preprocessing([image])[0], self._blip.device)

    def caption(self, images: Sequence[Image.Image], sample_ids: Sequence[str]) -> list[Candidates]:
        """The candidates of each image, in the order given.

        Args:
            images: of any mode and size.
            sample_ids: one an image; with the seed they decide the random numbers.

        Raises:
            DeviceError: the model's numbers overflowed in the chosen dtype.
        """
        return [self._merge(each) for each in self._sample(images, sample_ids)]

    def stream(self, samples: Iterable[Sample]) -> Iterator[list[Candidates]]:
        """The candidates of each sample, in order: whenever some are done, those.

        Args:
            samples: sample_id and what `prepare` made of the image; read as the device takes them.

        Raises:
            DeviceError: the model's numbers overflowed in the chosen dtype.
        """
        for drawn in self._draw_all(samples):
            yield [self._merge(each) for each in drawn]

    def _sample(self, images: Sequence[Image.Image], sample_ids: Sequence[str]) -> list[list[Tokens]]:
        """The tokens of every candidate of each image, prompt and end not included."""
        if len(images) != len(sample_ids):
            raise ValueError(f"{len(images)} images, but {len(sample_ids)} sample_ids")
        with closing(ahead(images, self.prepare, threads=self.threads, window=self._batches.size)) as pixels:
            return [each for drawn in self._draw_all(zip(sample_ids, pixels, strict=True)) for each in drawn]

    def _draw_all(self, samples: Iterable[Sample]) -> Iterator[list[list[Tokens]]]:
        """As `stream`, the tokens of every candidate of each sample.

        Samples that are finished leave; when half of a batch has left, others enter, beside those that are not. So a
        long caption is waited for by nobody, and what waits to be given in order is what the device has done meanwhile.
        """
        coming: Iterator[tuple[int, Sample]] = enumerate(samples)
        begun: dict[int, Sample] = {}
        groups: list[_Group] = []
        drawn: dict[int, list[Tokens]] = {}
        given = 0
        planned = self._batches.plan()
        while True:
            size, held = self._batches.within(planned), sum(len(each.prefixes.states) for each in groups)
            entering: dict[int, Sample] = {}
            if 2 * held <= size:
                with self._clock.stage("blip_preprocessing"):
                    entering = dict(islice(coming, size - held))
                begun |= entering
            if not begun:
                return
            finished = self._batches.attempt(held + len(entering), lambda: self._advance(groups, entering))  # noqa: B023
            if finished is None:  # out of memory: with fewer at once from the start, whatever was not finished
                coming, begun = chain(begun.items(), coming), {}
                continue
            for number in finished:
                del begun[number]
            drawn |= finished
            ready = []
            while given in drawn:
                ready.append(drawn.pop(given))
                given += 1
            if ready:
                yield ready

    @torch.inference_mode()
    def _advance(self, groups: list["_Group"], entering: dict[int, Sample]) -> dict[int, list[Tokens]]:
        """Begin with those that enter, one step for all; gives what of them is now finished, by number.

        `groups` is changed; it is empty when this fails.
        """
        going = groups.copy()
        groups.clear()
        if entering:
            going.append(self._begin(entering))
        with self._clock.stage("blip_decoding"):
            growing = self._step(going)
            finished = {each.numbers[image]: each.tree.written[image] for each in going for image in each.tree.leave()}
            if growing:
                logits = self._decoder.advance([each.prefixes for each in growing])
                for each, own in zip(
                    growing, torch.split(logits, [len(each.prefixes.images) for each in growing]), strict=True
                ):
                    each.logits = own
        groups += growing
        return finished

    def _begin(self, entering: dict[int, Sample]) -> "_Group":
        """The images seen, the prompt read."""
        blip, clock = self._blip, self._clock
        with clock.stage("blip_preprocessing"):
            pixels = to_device([pixels for _, pixels in entering.values()], blip.device, blip.dtype)
        with clock.stage("blip_image"):
            hidden = encode_images(blip.model.vision_model, pixels)
        with clock.stage("blip_decoding"):
            logits, prefixes = self._decoder.start(self._decoder.look(hidden), self._prompt)
            sample_ids = [sample_id for sample_id, _ in entering.values()]
            candidates, steps = len(self._limits), int(self._limits.max())
            uniform = np.stack([uniforms(self._settings.seed, each, candidates, steps) for each in sample_ids])
        return _Group(list(entering), sample_ids, uniform, Tree(len(entering), self._limits), logits, prefixes)

    def _step(self, groups: Sequence["_Group"]) -> list["_Group"]:
        """Every live candidate of the groups draws; those of them that go on, their prefixes grown."""
        logits = [self._expectation(each.sample_ids, each.tree, each.step, each.logits) for each in groups]
        distribution = self._filter(groups, logits)
        counts = [len(each.logits) for each in groups]
        offsets = np.cumsum([0, *counts[:-1]])
        rows = [each.tree.rows + offset for each, offset in zip(groups, offsets, strict=True)]
        uniform = [each.uniforms[each.tree.images, each.tree.candidates, each.step] for each in groups]
        drawn, ends = self._draw(distribution, np.concatenate(rows), np.concatenate(uniform))
        drawn_by = np.split(drawn, np.cumsum([len(each) for each in rows])[:-1])
        going = []
        for group, tokens, own in zip(groups, drawn_by, rows, strict=True):
            complete = self._outcome(group.sample_ids, group.tree, group.step, tokens, ends[own])
            parents, children = group.tree.grow(*complete)
            if len(parents):
                group.prefixes, group.step = grow(group.prefixes, parents, children), group.step + 1
                going.append(group)
        return going

    def _expectation(
        self,
        sample_ids: Sequence[str],  # noqa: ARG002  # for who replaces this: the benchmark, whose captions are scripted
        tree: Tree,  # noqa: ARG002
        step: int,  # noqa: ARG002
        logits: torch.Tensor,
    ) -> torch.Tensor:
        """What the model expects next, [rows, vocab] for the rows of `tree`."""
        return logits

    def _outcome(
        self,
        sample_ids: Sequence[str],  # noqa: ARG002  # for who replaces this: the benchmark, whose captions are scripted
        tree: Tree,  # noqa: ARG002
        step: int,  # noqa: ARG002
        tokens: NDArray[np.int64],
        ended: NDArray[np.bool_],
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Of each live candidate of `tree`: the token it drew, and whether it is complete without it."""
        return tokens, (tokens == self._blip.end_token) | ended

    def _filter(self, groups: Sequence["_Group"], logits: Sequence[torch.Tensor]) -> StepDistribution:
        """Of all rows at once, one group's behind the other's."""
        longest = max(each.prefixes.tokens.shape[1] for each in groups)
        # Filled up with what stands in every prefix already.
        seen = [
            pad(each.prefixes.tokens, (0, longest - each.prefixes.tokens.shape[1]), value=self._prompt[0])
            for each in groups
        ]
        masked = np.repeat([each.step < self._settings.min_length for each in groups], [len(each) for each in logits])
        device = torch.device("cpu") if self._blip.device.type == "mps" else self._blip.device  # which has no float64
        return filter_step(
            torch.cat(list(logits)).to(device),
            torch.cat(seen).to(device),
            end_token=self._blip.end_token,
            end_masked=torch.from_numpy(masked).to(device),
            settings=self._settings,
        )

    def _draw(
        self, distribution: StepDistribution, rows: NDArray[np.int64], numbers: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The token each live candidate drew, and which rows end because the model wants them to."""
        device = distribution.tokens.device
        tokens = distribution.draw(torch.from_numpy(rows).to(device), torch.from_numpy(numbers).to(device))
        end_probability = distribution.end_probability.cpu().numpy()
        if np.isnan(end_probability).any():
            raise DeviceError(
                f"BLIP's numbers overflow in {str(self._blip.dtype).removeprefix('torch.')} on {self._blip.device}: "
                "set LAION_COCO_DTYPE / --dtype to bfloat16 or float32 (if it is, the weights are damaged)"
            )
        return tokens.cpu().numpy(), end_probability > self._settings.forced_end

    def _merge(self, drawn: Sequence[Tokens]) -> Candidates:
        texts: dict[Tokens, str] = {}
        times: dict[str, int] = {}
        lengths: dict[str, int] = {}
        for tokens in drawn:
            if tokens not in texts:
                texts[tokens] = self._caption(tokens)
            text = texts[tokens]
            if text:
                times[text] = times.get(text, 0) + 1
                lengths.setdefault(text, len(tokens))
        return Candidates(tuple(times), tuple(times.values()), tuple(lengths.values()))

    def _caption(self, tokens: Tokens) -> str:
        """The text after the prompt. Decoded with it, for a first word piece to join and spaces to be tidied as ever."""
        whole = self._decode(tokens)
        if whole.startswith(self._prompt_text):
            return whole[len(self._prompt_text) :].strip()
        text: str = self._blip.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text.strip()

    def _decode(self, tokens: Tokens) -> str:
        ids = [*self._prompt[1:], *tokens]
        text: str = self._blip.tokenizer.decode(ids, skip_special_tokens=True)
        return text


@dataclass
class _Group:
    """Samples that entered together, all of whose candidates are therefore at the same step."""

    numbers: list[int]  # of the samples in their stream
    sample_ids: list[str]
    uniforms: NDArray[np.float64]  # [samples, candidates, steps]
    tree: Tree
    logits: torch.Tensor  # [rows of the tree, vocab], what the model expects next
    prefixes: Prefixes
    step: int = 0


def _bytes_an_image(blip: Blip, candidates: int, length: int) -> int:
    """An upper estimate of what one image needs: all candidates different, and all of them as long as may be."""
    text, vision = blip.model.config.text_config, blip.model.config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2 + 1
    size = torch.empty((), dtype=blip.dtype).element_size()
    tower = patches * (6 * vision.hidden_size + 2 * vision.intermediate_size) * size
    looks = 2 * text.num_hidden_layers * patches * text.hidden_size * size
    # The old cache, its chosen rows and the new cache lie side by side for a moment.
    prefixes = 3 * candidates * 2 * text.num_hidden_layers * length * text.hidden_size * size
    filtering = candidates * text.vocab_size * (2 * size + 4 + 3 * 8)
    return int(tower + looks + max(prefixes, filtering) + min(prefixes, filtering))
