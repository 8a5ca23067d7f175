"""The objective of a loss that is a function of Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import Signature, signature
from typing import Any

import torch
from torch import Tensor

from opdsl.diagnostics import OpError, fault
from opdsl.nn.points.batch import Values, map_values
from opdsl.train.engine.loader import FieldValues
from opdsl.train.losses.objective import LossInputs, LossValue, Objective

LossFunction = Callable[..., Tensor]
USAGE = "define it as `def my_loss(outputs, truth): ...`, or with `inputs` as a third argument"


@dataclass(frozen=True, slots=True)
class FunctionObjective(Objective):
    """The mean over a batch of what a function of Python returns.

    Attributes:
        function: called with the predictions and the truth in physical units: a tensor each if the
            model has one output, else dictionaries by name; with a rollout (batch, steps, channels,
            *grid). A third argument receives the inputs by name. It returns a scalar, or the error
            of each sample, (batch,).
        with_inputs: whether it has that argument.
    """

    function: LossFunction
    with_inputs: bool = False

    @classmethod
    def of(cls, function: LossFunction) -> FunctionObjective:
        """Check the signature of a function.

        Raises:
            OpError: OP0707, it cannot be called with predictions and truth.
        """
        return cls(function, with_inputs=_takes_inputs(function))

    def __call__(self, x: LossInputs) -> LossValue:
        """Return the loss of a batch.

        Raises:
            OpError: OP0707, the function returns no loss.
        """
        outputs = {k: _physical(v, x.units.outputs.get(k, 1.0)) for k, v in x.outputs.items()}
        truth = {k: _physical(v, x.units.outputs.get(k, 1.0)) for k, v in x.batch.truth.items()}
        args: list[Any] = [_single(outputs), _single(truth)]
        if self.with_inputs:
            known = x.units.inputs
            args.append({k: _physical(v, known.get(k, 1.0)) for k, v in x.batch.inputs.items()})
        samples = len(next(iter(x.outputs.values())))
        result = self.function(*args)
        self._refuse_bad_result(result, samples)
        return LossValue(result.float().mean() if result.dim() else result, {}, samples)

    def _refuse_bad_result(self, result: Any, samples: int) -> None:
        name = name_of(self.function)
        if not isinstance(result, Tensor):
            raise _bad(f"the loss `{name}` returned a {type(result).__name__}, not a tensor")
        if result.shape not in {torch.Size([]), torch.Size([samples])}:
            shape = tuple(result.shape)
            message = f"the loss `{name}` returned the shape {shape} for {samples} samples"
            raise _bad(message)
        if torch.is_grad_enabled() and not result.requires_grad:
            raise _bad(f"the loss `{name}` has no gradient: it does not depend on the outputs")


def name_of(function: LossFunction) -> str:
    """Return the name of a function, or of the class of a callable object."""
    return str(getattr(function, "__name__", type(function).__name__))


def _takes_inputs(function: LossFunction) -> bool:
    try:
        known = signature(function)
    except (TypeError, ValueError):  # a callable of C has none
        return False
    if _accepts(known, 3) and "inputs" in known.parameters:
        return True
    if not _accepts(known, 2):
        message = f"the loss `{name_of(function)}{known}` cannot be called with outputs and truth"
        raise fault("OP0707", message, helps=(USAGE,), file="loss")
    return False


def _accepts(known: Signature, count: int) -> bool:
    try:
        known.bind(*range(count))
    except TypeError:
        return False
    return True


def _bad(message: str) -> OpError:
    helps = ("return a scalar tensor, or the error of each sample, (batch,)",)
    return fault("OP0707", message, helps=helps, file="loss")


def _physical(x: Values, unit: float) -> Values:
    return x if unit == 1 else map_values(x, lambda y: y * unit)


def _single(fields: FieldValues) -> Values | FieldValues:
    return next(iter(fields.values())) if len(fields) == 1 else fields
