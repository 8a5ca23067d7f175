"""The data of the examples: random waves, and the same waves a quarter of the axis further."""

from pathlib import Path

import numpy as np

PROGRAM = Path(__file__).with_name("waves.op")


def waves(count, seed):
    """Return waves `a` and `u`, (count, 1, 32) each."""
    random = np.random.default_rng(seed)
    amplitudes, phases = random.normal(size=(2, count, 5, 1))
    position = np.arange(32) / 32
    modes = np.arange(1, 6)[:, None]
    a, u = (
        (amplitudes / modes * np.sin(2 * np.pi * modes * (position - shift) + phases)).sum(1)
        for shift in (0.0, 0.25)
    )
    return {"a": a[:, None].astype("float32"), "u": u[:, None].astype("float32")}
