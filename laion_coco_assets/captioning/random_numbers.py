"""Counter-based random numbers: a draw is a function of (seed, sample_id, candidate, step) only."""

import hashlib

import numpy as np
from numpy.typing import NDArray


def uniforms(seed: int, sample_id: str, candidates: int, steps: int) -> NDArray[np.float64]:
    """u[candidate, step] in [0, 1), float64 [candidates, steps].

    Philox 4x64, numpy's raw bits, a stream that its compatibility policy keeps fixed. The key is BLAKE2b over seed and
    sample_id; the counter's second word is the candidate, and its first counts the steps. Asking for more candidates
    or steps never changes the existing numbers.
    """
    digest = hashlib.blake2b(f"{seed}\0{sample_id}".encode(), digest_size=16).digest()
    key = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
    raw = np.stack(
        [np.random.Philox(key=key, counter=[0, candidate, 0, 0]).random_raw(steps) for candidate in range(candidates)]
    )
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
