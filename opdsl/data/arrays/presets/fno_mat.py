"""The MATLAB files of the first Fourier neural operators: Burgers, Darcy and Navier-Stokes.

Source: Li et al. 2021, arXiv:2010.08895, and the scripts of its repository.
"""

from opdsl.data.arrays.axes import SAMPLE, TIME
from opdsl.data.arrays.presets import GRID, ArrayInfos, Preset, Proposal


def propose(arrays: ArrayInfos) -> Proposal | None:
    """Recognise `a` and `u` (Burgers, Navier-Stokes with times last), or `coeff` and `sol`."""
    if {"coeff", "sol"} <= arrays.keys() and len(arrays["coeff"].shape) == 3:
        grid = (SAMPLE, *GRID[:2])
        return Proposal(("coeff",), ("sol",), {"coeff": grid, "sol": grid})
    if not {"a", "u"} <= arrays.keys():
        return None
    a, u = arrays["a"].shape, arrays["u"].shape
    axes = (SAMPLE, *GRID[: len(a) - 1])
    if a == u and len(a) == 2:
        return Proposal(("a",), ("u",), {"a": axes, "u": axes})
    if len(a) == 3 and u[:-1] == a and "t" in arrays:
        return Proposal(("a",), ("u",), {"a": axes, "u": (*axes, TIME)})
    return None


PRESET = Preset(
    "the files of the Fourier neural operator (Li et al. 2021)",
    propose,
    "`a` and `u`, or `coeff` and `sol`; `u` with times last has `t` beside it",
)
