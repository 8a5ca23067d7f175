"""How many modes of a model take part in an epoch, where the setting `incremental` adds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from opdsl.diagnostics import fault
from opdsl.train.config.optimization import Incremental
from opdsl.train.engine.train_state import RunPosition


@runtime_checkable
class LimitsModesOfModel(Protocol):
    """A module that can limit the Fourier modes it uses."""

    @property
    def greatest_modes(self) -> int:
        """The greatest frequency that has weights; 0 if the module has no Fourier modes."""

    def limit_modes(self, modes: int | None) -> None:
        """Use only the frequencies up to `modes`; None uses all of them again."""


@runtime_checkable
class GradientByModeOfModel(Protocol):
    """A module that tells the gradients of its Fourier modes apart."""

    def gradient_by_mode(self) -> Tensor | None:
        """Squared gradients of the spectral weights, (greatest_modes + 1,), by their frequency.

        None if the weights of some layer are products of factors, which have no frequency.
        """


def limit_modes(plan: Incremental, module: nn.Module, at: RunPosition, epochs: int) -> int | None:
    """Limit the modes to those of the epoch that begins, and return them; None: all of them.

    Raises:
        OpError: OP0604, the module has no modes, or none whose gradient says how many it needs.
    """
    if plan.start is None:
        return None
    if not isinstance(module, LimitsModesOfModel) or not module.greatest_modes:
        helps = ("leave `incremental` out", "or use an operator with `spectral_conv`")
        raise fault("OP0604", "`incremental` needs a model with spectral convolutions", helps=helps)
    if plan.kind == "gradient" and _gradient(module) is None:
        message = "`incremental gradient` needs spectral weights that are no products of factors"
        raise fault("OP0604", message, helps=("use `incremental loss_gap`",))
    greatest = module.greatest_modes
    if plan.kind == "linear":
        limit = plan.modes(at.epoch, epochs, greatest)
    else:
        limit = min(plan.start, greatest) if at.modes is None else at.modes
        limit = None if limit >= greatest or plan.ended(at.epoch, epochs) else limit
    module.limit_modes(limit)
    return limit


def count_gradient(plan: Incremental, module: nn.Module, at: RunPosition) -> None:
    """Add the gradient of a step to those of its epoch."""
    if plan.kind != "gradient":
        return
    squares = _gradient(module)
    assert squares is not None  # refused before the first step
    before = at.mode_gradients or [0.0] * len(squares)
    at.mode_gradients = [a + b for a, b in zip(before, squares.tolist(), strict=True)]


def _gradient(module: nn.Module) -> Tensor | None:
    return module.gradient_by_mode() if isinstance(module, GradientByModeOfModel) else None


def grow(plan: Incremental, at: RunPosition, limit: int | None, loss: float | None) -> None:
    """Decide at the end of an epoch how many modes the next one has.

    Args:
        plan: the settings.
        at: the position, whose `modes` change.
        limit: the modes of the epoch; None where all take part.
        loss: of the epoch.
    """
    before, at.loss_before = at.loss_before, loss
    gradients, at.mode_gradients = at.mode_gradients, []
    if limit is None:
        return
    at.modes = limit
    if plan.kind == "loss_gap" and loss is not None and before is not None:
        at.modes += abs(before - loss) <= plan.gap * before
    elif plan.kind == "gradient" and gradients:
        needed = explaining(gradients[: limit + 1], plan.explained)
        at.modes = max(limit, needed + plan.buffer)


def explaining(gradients: Sequence[float], part: float) -> int:
    """Return the least frequency up to which the modes have a part of the squared gradient."""
    total, explained = sum(gradients), 0.0
    for frequency, x in enumerate(gradients):
        explained += x
        if explained >= part * total:
            return frequency
    return len(gradients) - 1
