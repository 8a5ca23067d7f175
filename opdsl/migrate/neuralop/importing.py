"""Convert a constructor call of neuraloperator, and its weights if there are some, to a program.

The program is checked, and its module computes what theirs does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any

from opdsl.diagnostics import OpError
from opdsl.ir.graph import Graph
from opdsl.migrate.neuralop.architectures import ARCHITECTURES
from opdsl.migrate.neuralop.calls import bad_weights, call_of_module
from opdsl.migrate.neuralop.draft import ConstructorCall, Draft, WeightSource, options_of
from opdsl.syntax.printer import format_text

if TYPE_CHECKING:
    from torch import Tensor

    from opdsl.compiler import CheckResult
    from opdsl.lower.module import OperatorModule

HEAD = """# {name} of neuraloperator, imported.
# Source: Kossaifi et al. 2024, arXiv:2412.10354; neuralop/models at 93d3f06.{notes}
edition 2026

"""
NAME = "imported.op"
WIDTH = 96  # of comments
UNSAVED = "local_filter_matrix"
COUNTERS = ("num_batches_tracked",)  # of batch norms, which nothing reads


@dataclass(frozen=True, slots=True)
class Imported:
    """A model of neuraloperator as one of ours.

    Attributes:
        text: the program.
        graph: the same, checked.
        takes: where each weight comes from.
        notes: where theirs is wrong, and what was done about it.
    """

    text: str
    graph: Graph
    takes: tuple[WeightSource, ...]
    notes: tuple[str, ...]
    unused: tuple[str, ...]


def import_call(
    call: ConstructorCall, weights: Mapping[str, Tensor] | None = None, *, corrected: bool = False
) -> Imported:
    """The program of a call; with weights, their ranks decide on those of the factors.

    Args:
        call: of a constructor.
        weights: by neuraloperator's names.
        corrected: whether what is wrong there is right here, instead of the same.

    Raises:
        OpError: OP0641, OP0642.
    """
    architecture = ARCHITECTURES[call.name]
    options = options_of(architecture.options, call.name, call.args, call.named)
    shapes = {k: _shape(k, x) for k, x in (weights or {}).items()}
    draft = architecture.draft(call.name, options, shapes, corrected=corrected)
    checked = checked_draft(call.name, draft)
    return Imported(
        checked.file.source.text, checked.sound(), draft.takes, draft.notes, draft.unused
    )


def _shape(key: str, x: Tensor) -> tuple[int, ...]:
    """Of complex numbers, which are complex or pairs there."""
    factor = ".factors." in key or key.endswith((".weight.core", ".weight.weights"))
    return tuple(x.shape[:-1] if factor and not x.is_complex() else x.shape)


def checked_draft(name: str, draft: Draft) -> CheckResult:
    """The program with its head, in the one layout; it allows what is warned of."""
    from opdsl.compiler import check
    from opdsl.diagnostics import CODES, Source

    lines = "".join(f"\n{_wrapped(x)}" for x in draft.notes)
    head = HEAD.format(name=name, notes=lines)
    found = check(Source(NAME, format_text(f"{head}{draft.text}\n", NAME)))
    warned = sorted({CODES[x.code].slug for x in found.diagnostics if x.severity == "warning"})
    if not warned:
        return found
    allow = f"# op: allow({', '.join(warned)})\n"
    return check(Source(NAME, format_text(f"{head}{allow}{draft.text}\n", NAME)))


def _wrapped(note: str) -> str:
    return fill(f"# Note: {note}.", WIDTH, subsequent_indent="#   ", break_long_words=False)


def from_neuralop(
    module: Any,
    *,
    corrected: bool = False,
    latent: int | None = None,
    variables: int | Sequence[str] | None = None,
) -> tuple[str, OperatorModule]:
    """The program and the module of a model of neuraloperator, with its weights.

    At every resolution the module returns what `module` does, where that is right; where it is
    wrong, too, unless `corrected`. The head of the program says what is wrong.

    Args:
        module: a model of neuraloperator.
        corrected: whether to be right where it is wrong.
        latent: of a GINO, the points on each axis of the latent grid of its calls.
        variables: of a CODANO, the variables of its calls: how many, or their names.

    Returns:
        the text of a program, and its module; tensors (batch, channels, *grid) go in and out.

    Raises:
        OpError: OP0641, a model or an option has no counterpart; OP0643.
    """
    weights = plain_weights(module)
    call = call_of_module(module).also(latent=latent, variables=variables)
    found = import_call(call, weights, corrected=corrected)
    return found.text, module_of(found, weights)


def plain_weights(module: Any) -> dict[str, Tensor]:
    """The state dict without what is no tensor."""
    import torch

    state = torch.nn.Module.state_dict(module)
    # a buffer that is not saved may be noise that cannot be computed again, see `local_no`
    kept = dict(module.named_buffers())
    tables = {k: x for k, x in kept.items() if k.endswith(UNSAVED)}
    return {k: x for k, x in state.items() if isinstance(x, torch.Tensor)} | tables


def module_of(found: Imported, weights: Mapping[str, Tensor]) -> OperatorModule:
    """Our module with their weights.

    Raises:
        OpError: OP0643, a weight is missing, left over, or has another shape.
    """
    from opdsl.lower.module import lower

    ours = lower(found.graph)
    taken = taken_weights(found, weights)
    state = ours.state_dict()
    for key, x in taken.items():
        if key in state and state[key].shape != x.shape:
            raise bad_weights(
                NAME, f"`{key}` is {tuple(state[key].shape)}, from theirs comes {tuple(x.shape)}"
            )
    missing = sorted(set(state) ^ set(taken))
    if missing:
        raise bad_weights(NAME, f"nothing is known of `{missing[0]}`")
    ours.load_state_dict({k: x.detach().clone() for k, x in taken.items()})
    return ours


def taken_weights(found: Imported, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict, as differentiable functions of theirs.

    Raises:
        OpError: OP0643, a weight is missing or left over.
    """
    from opdsl.migrate.neuralop.changes import CHANGES

    used = {y for x in found.takes for y in x.theirs}
    _complete(used, set(weights), found.unused)
    return {x.ours: CHANGES[x.change](*(weights[y] for y in x.theirs)) for x in found.takes}


def _complete(used: set[str], there: set[str], unused: tuple[str, ...]) -> None:
    if missing := sorted(used - there):
        raise bad_weights(NAME, f"`{missing[0]}` is missing")
    left = sorted(x for x in there - used if not x.endswith((*unused, *COUNTERS)))
    if left:
        raise _left_over(left)


def _left_over(left: list[str]) -> OpError:
    more = f" and {len(left) - 1} more" if len(left) > 1 else ""
    return bad_weights(NAME, f"`{left[0]}`{more} has no counterpart")
