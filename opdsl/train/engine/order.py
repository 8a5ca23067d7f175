"""The order of samples in an epoch, a function of (seed, epoch) and of nothing that went before."""

import numpy as np
import torch
from torch import Tensor


def permutation(seed: int, epoch: int, size: int) -> Tensor:
    """Return `size` indices, ordered by draws of the counter-based Philox, key (seed, epoch).

    Sorting raw draws keeps the order the same in every version of numpy.

    Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
    """
    key = np.array([seed, epoch], dtype=np.uint64)
    draws = np.random.Philox(key=key).random_raw(size)
    return torch.from_numpy(np.argsort(draws, kind="stable"))
