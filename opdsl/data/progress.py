"""How long computations on samples report their progress."""

from collections.abc import Callable

ProgressCallback = Callable[[int, int], None]  # samples done, all samples
