"""BLIP as a captioner: prefix-tree sampling with the semantics of the original worker."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain, islice
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import pad

from laion_coco_assets.ahead import ahead
from laion_coco_assets.captioning.batching import Batches
from laion_coco_assets.captioning.blip_text import BlipText
from laion_coco_assets.captioning.clock import NO_CLOCK, Clock
from laion_coco_assets.captioning.decoder import BlipDecoder, grow
from laion_coco_assets.captioning.filtering import StepDistribution, filter_step
from laion_coco_assets.captioning.group import Group, bytes_an_image
from laion_coco_assets.captioning.interfaces import Candidates, Captioner
from laion_coco_assets.captioning.loading import Blip, load_blip
from laion_coco_assets.captioning.packing import pack
from laion_coco_assets.captioning.preparing import for_device, threads_for, to_device
from laion_coco_assets.captioning.random_numbers import uniforms
from laion_coco_assets.captioning.tree import Tokens, Tree
from laion_coco_assets.captioning.vision import encode_images
from laion_coco_assets.contract.profile import CaptionSettings
from laion_coco_assets.errors import DeviceError, ProfileError

#: A sample_id, and the result of `BlipCaptioner.prepare` for its image.
Sample = tuple[str, torch.Tensor]


class BlipCaptioner(Captioner):
    """Draws an image's candidates.

    A sample's result is a function of its image, the settings, its sample_id and the model. Which images share its batch,
    and in which order, changes at most the last bit or two of a logit, because matrix products round differently for
    different numbers of rows. That changes a draw only when its random number, or the edge of the nucleus, lies within
    the rounding error: an estimated one draw in a million in float32, and correspondingly more in half precision.

    Example:
        >>> captioner = BlipCaptioner.load(profile.caption, device, dtype, batch_size=0)
        >>> captioner.caption([image], [sample_id])[0].captions
    """

    def __init__(self, blip: Blip, settings: CaptionSettings, batch_size: int = 0, clock: Clock = NO_CLOCK) -> None:
        """Take over a model. On a CPU, its layers are replaced by ones whose weights are laid out for the CPU.

        Args:
            blip: the model.
            settings: how to sample.
            batch_size: images per batch; it does not affect the result. 0 chooses it from the device's free memory.
            clock: times the stages `blip_preprocessing`, `blip_image` and `blip_decoding`.

        Raises:
            ProfileError: prompt and max lengths need more positions than the model has.
        """
        self._blip = blip
        self._settings = settings
        self._clock = clock
        pack(blip.model)
        self._decoder = BlipDecoder(blip.model)
        self._limits = np.repeat(
            [limit.tokens for limit in settings.max_lengths], [limit.candidates for limit in settings.max_lengths]
        )
        self._text = BlipText(blip, settings.prompt)
        self._prompt = self._text.prompt
        longest = len(self._prompt) + int(self._limits.max()) - 1
        if longest > blip.positions:
            raise ProfileError(
                f"caption.max_lengths: {int(self._limits.max())} tokens after a prompt of {len(self._prompt)} are more "
                f"than the {blip.positions} positions of {settings.model.path or settings.model.name}"
            )
        self._batches = Batches(batch_size, blip.device, bytes_an_image(blip, len(self._limits), longest))

    @classmethod
    def load(cls, settings: CaptionSettings, device: torch.device, dtype: torch.dtype, batch_size: int) -> Self:
        """See `Captioner`.

        Raises:
            ModelUnavailableError: the weights are not available or are damaged.
            ProfileError: prompt and max lengths need more positions than the model has.
        """
        return cls(load_blip(settings.model, device, dtype), settings, batch_size)

    @property
    def revision(self) -> str:
        """The revision of the loaded model."""
        return self._blip.revision

    @property
    def threads(self) -> int:
        """How many threads call `prepare`: enough to keep up with the device, without taking CPU time from it."""
        return threads_for(self._blip.device)

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """BLIP's input for an image of any mode and size: float32 [3, size, size]. Safe to call in threads."""
        return for_device(self._blip.preprocessing([image])[0], self._blip.device)

    def caption(self, images: Sequence[Image.Image], sample_ids: Sequence[str]) -> list[Candidates]:
        """The candidates of each image, in the order given.

        Args:
            images: of any mode and size.
            sample_ids: one per image. They and the seed determine the random numbers.

        Raises:
            DeviceError: the model's numbers overflowed in the chosen dtype.
        """
        return [self._text.candidates(draws) for draws in self._sample(images, sample_ids)]

    def stream(self, samples: Iterable[Sample]) -> Iterator[list[Candidates]]:
        """Yield the candidates of the samples, in order, as soon as some are done.

        Args:
            samples: pairs of sample_id and the result of `prepare`. They are read as the device needs them.

        Raises:
            DeviceError: the model's numbers overflowed in the chosen dtype.
        """
        for drawn in self._draw_all(samples):
            yield [self._text.candidates(draws) for draws in drawn]

    def _sample(self, images: Sequence[Image.Image], sample_ids: Sequence[str]) -> list[list[Tokens]]:
        """The tokens of every candidate of each image, prompt and end not included."""
        if len(images) != len(sample_ids):
            raise ValueError(f"{len(images)} images, but {len(sample_ids)} sample_ids")
        with closing(ahead(images, self.prepare, threads=self.threads, window=self._batches.size)) as pixels:
            return [draws for drawn in self._draw_all(zip(sample_ids, pixels, strict=True)) for draws in drawn]

    def _draw_all(self, samples: Iterable[Sample]) -> Iterator[list[list[Tokens]]]:
        """Like `stream`, but yield the tokens of every candidate of each sample.

        Finished samples leave the batch. When half of it has left, new samples join those that are not finished. So no
        sample waits for another's long caption; finished samples are held only until they can be yielded in order.
        """
        coming: Iterator[tuple[int, Sample]] = enumerate(samples)
        begun: dict[int, Sample] = {}
        groups: list[Group] = []
        drawn: dict[int, list[Tokens]] = {}
        next_number = 0
        planned = self._batches.plan()
        while True:
            size, held = self._batches.within(planned), sum(len(group.prefixes.states) for group in groups)
            entering: dict[int, Sample] = {}
            if 2 * held <= size:
                with self._clock.stage("blip_preprocessing"):
                    entering = dict(islice(coming, size - held))
                begun |= entering
            if not begun:
                return
            finished = self._batches.attempt(held + len(entering), lambda: self._advance(groups, entering))  # noqa: B023
            if finished is None:  # out of memory: start all unfinished samples again, in smaller batches
                coming, begun = chain(begun.items(), coming), {}
                continue
            for number in finished:
                del begun[number]
            drawn |= finished
            ready = []
            while next_number in drawn:
                ready.append(drawn.pop(next_number))
                next_number += 1
            if ready:
                yield ready

    @torch.inference_mode()
    def _advance(self, groups: list[Group], entering: dict[int, Sample]) -> dict[int, list[Tokens]]:
        """Begin the entering samples and advance all groups by one step. Returns the samples that finished, by number.

        `groups` is changed in place. It is empty when this fails.
        """
        going = groups.copy()
        groups.clear()
        if entering:
            going.append(self._begin(entering))
        with self._clock.stage("blip_decoding"):
            growing = self._step(going)
            finished = {
                group.numbers[image]: group.tree.written[image] for group in going for image in group.tree.leave()
            }
            if growing:
                logits = self._decoder.advance([group.prefixes for group in growing])
                for group, own in zip(
                    growing, torch.split(logits, [len(group.prefixes.images) for group in growing]), strict=True
                ):
                    group.logits = own
        groups += growing
        return finished

    def _begin(self, entering: dict[int, Sample]) -> Group:
        """Encode the entering images and run the prompt."""
        blip, clock = self._blip, self._clock
        with clock.stage("blip_preprocessing"):
            pixels = to_device([pixels for _, pixels in entering.values()], blip.device, blip.dtype)
        with clock.stage("blip_image"):
            hidden = encode_images(blip.model.vision_model, pixels)
        with clock.stage("blip_decoding"):
            logits, prefixes = self._decoder.start(self._decoder.look(hidden), self._prompt)
            sample_ids = [sample_id for sample_id, _ in entering.values()]
            candidates, steps = len(self._limits), int(self._limits.max())
            uniform = np.stack(
                [uniforms(self._settings.seed, sample_id, candidates, steps) for sample_id in sample_ids]
            )
        return Group(list(entering), sample_ids, uniform, Tree(len(entering), self._limits), logits, prefixes)

    def _step(self, groups: Sequence[Group]) -> list[Group]:
        """Draw one token for every live candidate. Returns the groups with live candidates, their prefixes grown."""
        logits = [self._expectation(group) for group in groups]
        distribution = self._filter(groups, logits)
        counts = [len(group.logits) for group in groups]
        offsets = np.cumsum([0, *counts[:-1]])
        rows = [group.tree.rows + offset for group, offset in zip(groups, offsets, strict=True)]
        uniform = [group.uniforms[group.tree.images, group.tree.candidates, group.step] for group in groups]
        drawn, ends = self._draw(distribution, np.concatenate(rows), np.concatenate(uniform))
        drawn_by = np.split(drawn, np.cumsum([len(own) for own in rows])[:-1])
        ends_by = np.split(ends, offsets[1:])
        going = []
        for group, tokens, own_ends in zip(groups, drawn_by, ends_by, strict=True):
            complete = self._outcome(group, tokens, own_ends)
            parents, children = group.tree.grow(*complete)
            if len(parents):
                group.prefixes, group.step = grow(group.prefixes, parents, children), group.step + 1
                going.append(group)
        return going

    def _expectation(self, group: Group) -> torch.Tensor:
        """The logits of the next token, [rows, vocab], for the rows of the group's tree."""
        return group.logits

    def _outcome(
        self, group: Group, tokens: NDArray[np.int64], ends: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The outcome of a step for each live candidate of the group's tree.

        Args:
            group: the samples.
            tokens: int64 [live], the token that each candidate drew.
            ends: bool [rows of the tree], which rows end whatever was drawn, because the model is sure enough.

        Returns:
            `tokens`, and whether each candidate is complete without it.
        """
        return tokens, (tokens == self._blip.end_token) | ends[group.tree.rows]

    def _filter(self, groups: Sequence[Group], logits: Sequence[torch.Tensor]) -> StepDistribution:
        """The distribution over the next token, for the rows of all groups in order."""
        longest = max(group.prefixes.tokens.shape[1] for group in groups)
        # Padded with a token that every prefix already contains.
        seen = [
            pad(group.prefixes.tokens, (0, longest - group.prefixes.tokens.shape[1]), value=self._prompt[0])
            for group in groups
        ]
        masked = np.repeat([group.step < self._settings.min_length for group in groups], [len(rows) for rows in logits])
        device = torch.device("cpu") if self._blip.device.type == "mps" else self._blip.device  # MPS has no float64
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
        """The token that each live candidate drew, and which rows end because the model is sure enough."""
        device = distribution.tokens.device
        tokens = distribution.draw(torch.from_numpy(rows).to(device), torch.from_numpy(numbers).to(device))
        end_probability = distribution.end_probability.cpu().numpy()
        if np.isnan(end_probability).any():
            raise DeviceError(
                f"BLIP's numbers overflow in {str(self._blip.dtype).removeprefix('torch.')} on {self._blip.device}: "
                "set LAION_COCO_DTYPE / --dtype to bfloat16 or float32 (if it is one of these already, the weights are damaged)"
            )
        return tokens.cpu().numpy(), end_probability > self._settings.forced_end
