"""BLIP's candidates for images: prefix-tree sampling with the worker's semantics."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from laion_coco_assets.captioning.batching import Batches
from laion_coco_assets.captioning.clock import NO_CLOCK, Clock
from laion_coco_assets.captioning.decoder import BlipDecoder
from laion_coco_assets.captioning.filtering import StepDistribution, filter_step
from laion_coco_assets.captioning.loading import Blip
from laion_coco_assets.captioning.packing import pack
from laion_coco_assets.captioning.preparing import prepared, to_device
from laion_coco_assets.captioning.random_numbers import uniforms
from laion_coco_assets.captioning.vision import encode_images
from laion_coco_assets.errors import DeviceError, ProfileError
from laion_coco_assets.shards.profile import CaptionSettings

Tokens = tuple[int, ...]


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

    def caption(self, images: Sequence[Image.Image], sample_ids: Sequence[str]) -> list[Candidates]:
        """The candidates of each image, in the order given.

        Args:
            images: of any mode and size.
            sample_ids: one an image; with the seed they decide the random numbers.

        Raises:
            DeviceError: the model's numbers overflowed in the chosen dtype.
        """
        if len(images) != len(sample_ids):
            raise ValueError(f"{len(images)} images, but {len(sample_ids)} sample_ids")
        return [self._merge(each) for each in self._sample(images, sample_ids)]

    def _sample(self, images: Sequence[Image.Image], sample_ids: Sequence[str]) -> list[list[Tokens]]:
        """The tokens of every candidate of each image, prompt and end not included."""
        with prepared(images, self._prepare, self._blip.device, window=2 * self._batches.size) as pixels:
            places = range(len(images))
            return self._batches.run(
                places, lambda batch: self._sample_batch(pixels, batch, [sample_ids[each] for each in batch])
            )

    def _prepare(self, image: Image.Image) -> torch.Tensor:
        return self._blip.preprocessing([image])[0]

    @torch.inference_mode()
    def _sample_batch(
        self, prepared_pixels: Sequence[torch.Tensor], batch: Sequence[int], sample_ids: Sequence[str]
    ) -> list[list[Tokens]]:
        blip, clock = self._blip, self._clock
        candidates, steps = len(self._limits), int(self._limits.max())
        numbers = np.stack([uniforms(self._settings.seed, each, candidates, steps) for each in sample_ids])
        with clock.stage("blip_preprocessing"):
            pixels = to_device(prepared_pixels[batch[0] : batch[-1] + 1], blip.device, blip.dtype)
        with clock.stage("blip_image"):
            hidden = encode_images(blip.model.vision_model, pixels)
        with clock.stage("blip_decoding"):
            logits, prefixes = self._decoder.start(self._decoder.look(hidden), self._prompt)
            tree = _Tree(len(batch), self._limits)
            for step in range(steps):
                logits = self._expectation(sample_ids, tree, step, logits)
                distribution = self._filter(logits, prefixes.tokens, step)
                tokens, ended = self._draw(distribution, tree.rows, numbers[tree.images, tree.candidates, step])
                tokens, complete = self._outcome(sample_ids, tree, step, tokens, ended[tree.rows])
                parents, children = tree.grow(tokens, complete)
                if not len(parents):
                    break
                logits, prefixes = self._decoder.step(prefixes, parents, children)
        return tree.finished

    def _expectation(
        self,
        sample_ids: Sequence[str],  # noqa: ARG002  # for who replaces this: the benchmark, whose captions are scripted
        tree: "_Tree",  # noqa: ARG002
        step: int,  # noqa: ARG002
        logits: torch.Tensor,
    ) -> torch.Tensor:
        """What the model expects next, [rows, vocab] for the rows of `tree`."""
        return logits

    def _outcome(
        self,
        sample_ids: Sequence[str],  # noqa: ARG002  # for who replaces this: the benchmark, whose captions are scripted
        tree: "_Tree",  # noqa: ARG002
        step: int,  # noqa: ARG002
        tokens: NDArray[np.int64],
        ended: NDArray[np.bool_],
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Of each live candidate of `tree`: the token it drew, and whether it is complete without it."""
        return tokens, (tokens == self._blip.end_token) | ended

    def _filter(self, logits: torch.Tensor, seen: torch.Tensor, step: int) -> StepDistribution:
        if logits.device.type == "mps":  # has no float64
            logits, seen = logits.cpu(), seen.cpu()
        masked = step < self._settings.min_length
        return filter_step(logits, seen, end_token=self._blip.end_token, end_masked=masked, settings=self._settings)

    def _draw(
        self, distribution: StepDistribution, rows: NDArray[np.int64], numbers: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The token each live candidate drew, and which rows end because the model wants them to."""
        device = distribution.tokens.device
        tokens = distribution.draw(torch.from_numpy(rows).to(device), torch.from_numpy(numbers).to(device))
        end_probability = distribution.end_probability.cpu().numpy()
        if np.isnan(end_probability).any():
            raise DeviceError(
                f"BLIP's numbers overflow in {self._blip.dtype} on {self._blip.device}: "
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


class _Tree:
    """Which row each live candidate is on, and what the finished ones wrote.

    `rows`, `images` and `candidates` are parallel, one entry a live candidate, rows ascending.
    """

    def __init__(self, images: int, limits: NDArray[np.int64]) -> None:
        self._limits = limits
        self._history = np.empty((images, 0), dtype=np.int64)  # [rows, tokens after the prompt]
        self.images = np.repeat(np.arange(images), len(limits))
        self.candidates = np.tile(np.arange(len(limits)), images)
        self.rows = self.images.copy()
        self.finished: list[list[Tokens]] = [[()] * len(limits) for _ in range(images)]

    def grow(
        self, tokens: NDArray[np.int64], complete: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Finish the candidates that are complete, append the others' tokens, finish those that are now full.

        Args:
            tokens: [live], what each drew.
            complete: [live], whose token is not to be appended.

        Returns:
            parents and tokens of the new rows, for `BlipDecoder.step`; empty when all are finished.
        """
        self._finish(complete, self._history[self.rows])
        self._keep(~complete)
        tokens = tokens[~complete]
        written = np.concatenate([self._history[self.rows], tokens[:, None]], axis=1)  # [live, length]
        full = self._limits[self.candidates] <= written.shape[1]
        self._finish(full, written)
        self._keep(~full)
        branches = np.stack([self.rows, tokens[~full]], axis=1)
        branches, first, self.rows = np.unique(branches, axis=0, return_index=True, return_inverse=True)
        self._history = written[~full][first]
        return np.ascontiguousarray(branches[:, 0]), np.ascontiguousarray(branches[:, 1])

    def _finish(self, which: NDArray[np.bool_], written: NDArray[np.int64]) -> None:
        for place in np.flatnonzero(which):
            self.finished[self.images[place]][self.candidates[place]] = tuple(written[place].tolist())

    def _keep(self, which: NDArray[np.bool_]) -> None:
        self.rows, self.images, self.candidates = self.rows[which], self.images[which], self.candidates[which]


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
