"""Tracks which prefixes the candidates of some images share, and what each candidate wrote. No tensors, no model."""

import numpy as np
from numpy.typing import NDArray

#: A candidate's tokens after the prompt, without the end.
Tokens = tuple[int, ...]


class Tree:
    """Which row each live candidate is on, and what the finished ones wrote.

    `rows`, `images` and `candidates` are parallel: one entry per live candidate, rows ascending.
    """

    def __init__(self, images: int, limits: NDArray[np.int64]) -> None:
        """Begin with all candidates live, those of an image on one row.

        Args:
            images: how many.
            limits: int64 [candidates], the most tokens of each candidate.
        """
        self._limits = limits
        self._history = np.empty((images, 0), dtype=np.int64)  # [rows, tokens after the prompt]
        self.images = np.repeat(np.arange(images), len(limits))
        self.candidates = np.tile(np.arange(len(limits)), images)
        self.rows = self.images.copy()
        self.written: list[list[Tokens]] = [[()] * len(limits) for _ in range(images)]
        self._left = np.zeros(images, dtype=np.bool_)

    def grow(
        self, tokens: NDArray[np.int64], complete: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Finish the candidates that are complete, append the others' tokens, finish those that are now full.

        Args:
            tokens: int64 [live], what each candidate drew.
            complete: bool [live], which candidates are complete without their token.

        Returns:
            Parents and tokens of the new rows, for `decoder.grow`. Empty when all candidates are finished.
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

    def leave(self) -> list[int]:
        """The images whose candidates have all finished since the last call."""
        finished = ~self._left
        finished[self.images] = False
        self._left |= finished
        return [int(image) for image in np.flatnonzero(finished)]

    def _finish(self, which: NDArray[np.bool_], written: NDArray[np.int64]) -> None:
        for place in np.flatnonzero(which):
            self.written[self.images[place]][self.candidates[place]] = tuple(written[place].tolist())

    def _keep(self, which: NDArray[np.bool_]) -> None:
        self.rows, self.images, self.candidates = self.rows[which], self.images[which], self.candidates[which]
