"""The derivative in time of outputs that are computed step by step."""

from torch import Tensor

from opdsl.diagnostics import fault
from opdsl.train.metrics.norms import wide
from opdsl.train.physics.differences import difference

TIME_ORDER = 2  # of differences along steps of a rollout


def step_derivative(u: Tensor, step: float = 1.0, order: int = TIME_ORDER) -> Tensor:
    """Return the derivative along steps in time, shaped as `u`, one-sided at the ends.

    Args:
        u: (batch, steps, channels, *domain).
        step: the time between two steps.
        order: of the error in the step.

    Raises:
        OpError: OP0720, there is a single step.
    """
    if u.shape[1] == 1:
        message = "`dt` is a derivative along steps in time, and there is one step"
        raise fault("OP0720", message, helps=("train with `rollout = 3` or more",))
    return difference(wide(u), 1, times=1, order=order, step=step, periodic=False)
