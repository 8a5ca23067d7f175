"""Seed, save and restore every global random generator.

States are made of tensors, lists and numbers, so that `torch.load(weights_only=True)` reads them.
"""

import random
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch on every device; call it before weights are drawn."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  modules of users may draw from the global one
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """Return the state of every generator, as plain values."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002  as above
    return {
        "python": random.getstate(),
        "numpy": [kind, np.asarray(keys).tolist(), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Restore every generator; those of CUDA only if the number of devices is that of the state."""
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002  as above
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
