"""Convert a constructor call of neuraloperator, and its weights if there are some, to a program.

The program is checked, and its module computes what neuraloperator's module does.
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
COUNTERS = ("num_batches_tracked",)  # counters of batch norms, which nothing reads


@dataclass(frozen=True, slots=True)
class Imported:
    """A model of neuraloperator as one of ours.

    Attributes:
        text: the program.
        graph: the checked program.
        takes: the source of each weight.
        notes: faults of neuraloperator, and whether they were kept or corrected.
        unused: suffixes of the names of their weights that have no effect.
    """

    text: str
    graph: Graph
    takes: tuple[WeightSource, ...]
    notes: tuple[str, ...]
    unused: tuple[str, ...]


def import_call(
    call: ConstructorCall, weights: Mapping[str, Tensor] | None = None, *, corrected: bool = False
) -> Imported:
    """Convert a constructor call to a program; weights, if given, determine the ranks of factors.

    Args:
        call: the constructor call.
        weights: weights by neuraloperator's names.
        corrected: whether to correct faults of neuraloperator instead of keeping them.

    Raises:
        OpError: OP0641, the model or an option has no counterpart; OP0642, the arguments are wrong.
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
    """Shape of a weight in complex numbers, which neuraloperator stores as complex or as pairs."""
    factor = ".factors." in key or key.endswith((".weight.core", ".weight.weights"))
    return tuple(x.shape[:-1] if factor and not x.is_complex() else x.shape)


def checked_draft(name: str, draft: Draft) -> CheckResult:
    """Format and check the program with its head, and allow the warnings that it causes."""
    from opdsl.compiler import check
    from opdsl.diagnostics import CODES, Source

    lines = "".join(f"\n{_wrapped(x)}" for x in draft.notes)
    head = HEAD.format(name=name, notes=lines)
    result = check(Source(NAME, format_text(f"{head}{draft.text}\n", NAME)))
    slugs = sorted({CODES[x.code].slug for x in result.diagnostics if x.severity == "warning"})
    if not slugs:
        return result
    allow = f"# op: allow({', '.join(slugs)})\n"
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
    """Convert a model of neuraloperator to a program and its module, with its weights.

    At every resolution the module returns what `module` does, including its faults unless
    `corrected`. The head of the program lists the faults.

    Args:
        module: a model of neuraloperator.
        corrected: whether to correct faults of neuraloperator instead of keeping them.
        latent: for a GINO, the points on each axis of the latent grid of its calls.
        variables: for a CODANO, the variables of its calls: their number or their names.

    Returns:
        the text of a program, and its module; tensors (batch, channels, *grid) go in and out.

    Raises:
        OpError: OP0641, a model or an option has no counterpart; OP0643, the weights do not fit.
    """
    weights = plain_weights(module)
    call = call_of_module(module).also(latent=latent, variables=variables)
    model = import_call(call, weights, corrected=corrected)
    return model.text, module_of(model, weights)


def plain_weights(module: Any) -> dict[str, Tensor]:
    """Return the tensors of the state dict, and unsaved buffers that cannot be computed again."""
    import torch

    state = torch.nn.Module.state_dict(module)
    # a buffer that is not saved may be noise that cannot be computed again, see `local_no`
    buffers = dict(module.named_buffers())
    tables = {k: x for k, x in buffers.items() if k.endswith(UNSAVED)}
    return {k: x for k, x in state.items() if isinstance(x, torch.Tensor)} | tables


def module_of(found: Imported, weights: Mapping[str, Tensor]) -> OperatorModule:
    """Build our module with neuraloperator's weights.

    Raises:
        OpError: OP0643, a weight is missing, left over, or has another shape.
    """
    from opdsl.lower.module import lower

    ours = lower(found.graph)
    our_weights = taken_weights(found, weights)
    state = ours.state_dict()
    for key, x in our_weights.items():
        if key in state and state[key].shape != x.shape:
            raise bad_weights(
                NAME, f"`{key}` is {tuple(state[key].shape)}, from theirs comes {tuple(x.shape)}"
            )
    missing = sorted(set(state) ^ set(our_weights))
    if missing:
        raise bad_weights(NAME, f"nothing is known of `{missing[0]}`")
    ours.load_state_dict({k: x.detach().clone() for k, x in our_weights.items()})
    return ours


def taken_weights(found: Imported, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Compute our state dict as differentiable functions of neuraloperator's.

    Raises:
        OpError: OP0643, a weight is missing or left over.
    """
    from opdsl.migrate.neuralop.changes import CHANGES

    required = {y for x in found.takes for y in x.theirs}
    _complete(required, set(weights), found.unused)
    return {x.ours: CHANGES[x.change](*(weights[y] for y in x.theirs)) for x in found.takes}


def _complete(used: set[str], there: set[str], unused: tuple[str, ...]) -> None:
    if missing := sorted(used - there):
        raise bad_weights(NAME, f"`{missing[0]}` is missing")
    leftover = sorted(x for x in there - used if not x.endswith((*unused, *COUNTERS)))
    if leftover:
        raise _left_over(leftover)


def _left_over(left: list[str]) -> OpError:
    others = f" and {len(left) - 1} more" if len(left) > 1 else ""
    return bad_weights(NAME, f"`{left[0]}`{others} has no counterpart")
