"""Pairs `x` and `y` of neuraloperator, whose own reader says what they are.

Source: Kossaifi et al. 2024, arXiv:2412.10354.
"""

from opdsl.data.arrays.presets import ArrayInfos, Preset, Proposal


def propose(_: ArrayInfos) -> Proposal | None:
    """Return nothing: the reader of pairs finds inputs and outputs."""
    return None


PRESET = Preset(
    "pairs of neuraloperator (Kossaifi et al. 2024)",
    propose,
    "`x` and `y`, (sample, channel, *grid), or a list of dictionaries",
    own_reader=("pt", "npz", "points"),
)
