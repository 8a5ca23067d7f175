"""What inputs and outputs of a model declare about the ends: `input f : D -> R^1, ends = odd`."""

from __future__ import annotations

from typing import cast, get_args

from opdsl.diagnostics import Label, did_you_mean
from opdsl.elaborate.bind.scope import NameScope
from opdsl.elaborate.evaluate.problems import Poisoned
from opdsl.elaborate.evaluate.values import Value, Word, WordPair, describe, show
from opdsl.ir.axes import Axis
from opdsl.ir.ends import EndWord, PortEnds
from opdsl.ir.spaces import Space
from opdsl.syntax import tree

END_WORDS: tuple[str, ...] = get_args(EndWord)
WORDS = ("boundary", *END_WORDS)
_Pair = tuple[EndWord, EndWord]


def port_ends(
    scope: NameScope, statement: tree.Input | tree.Output, space: Space
) -> PortEnds | None:
    """Return what a port declares at the ends of each axis; None if it declares nothing.

    Raises:
        Poisoned: OP0207, another option; OP0208, an unknown word; OP0321, the domain has no ends
            there.
    """
    arg = statement.ends
    if arg is None:
        return None
    name = arg.name.text if arg.name else ""
    if name != "ends":
        raise scope.fail(
            "OP0207",
            f"an input or output has no option `{name}`",
            Label(arg.span, "unknown option"),
            notes=("it has one option: `ends`",),
            helps=did_you_mean(name, ("ends",)),
        )
    domain = space.domain
    if not domain.regular or all(domain.periodic):
        raise scope.fail(
            "OP0321",
            f"a function on `{domain}` has no ends" if domain.axes else "a vector has no ends",
            Label(arg.span, "no axis has ends"),
            notes=("axes of grids have ends, unless their boundary is `periodic`",),
        )
    value = scope.number(arg.value)
    values = value if isinstance(value, tuple) else (value,) * domain.dims
    if len(values) != domain.dims:
        raise scope.fail(
            "OP0208",
            f"`ends` has {len(values)} values for {domain.dims} axes",
            Label(arg.value.span, "one value for each axis, or one for all"),
        )
    single = not isinstance(value, tuple)
    return tuple(
        _of_axis(scope, arg, x, axis, closed=closed, single=single)
        for x, axis, closed in zip(values, domain.axes, domain.periodic, strict=True)
    )


def refuse_in_block(scope: NameScope) -> None:
    """Report ends in a block, which takes functions of any kind: OP0107."""
    ports: list[tree.Input | tree.Output] = [*scope.inputs, *scope.statements(tree.Output)]
    for arg in (x.ends for x in ports if x.ends):
        scope.fail(
            "OP0107",
            "inputs and outputs of a block declare no ends",
            Label(arg.span, "supported in models only"),
            helps=("declare it in the model: what a block does at the ends is derived",),
        )


def _of_axis(
    scope: NameScope, arg: tree.Arg, value: Value, axis: Axis, *, closed: bool, single: bool
) -> _Pair | None:
    if closed and (single or value == Word("periodic")):
        return None
    if closed:
        raise scope.fail(
            "OP0321",
            f"the axis `{axis.name}` is periodic and has no ends",
            Label(arg.value.span, f"`{show(value)}` is declared for `{axis.name}`"),
            helps=(f"write `periodic` for `{axis.name}`, or one value for all axes",),
        )
    if value == Word("boundary"):
        return cast("_Pair", axis.ends or ("none", "none"))
    words = (value.lower, value.upper) if isinstance(value, WordPair) else (show(value),) * 2
    for word in words:
        if word not in END_WORDS or not isinstance(value, Word | WordPair):
            raise _unknown(scope, arg, value, word)
    return cast("_Pair", words)


def _unknown(scope: NameScope, arg: tree.Arg, value: Value, word: str) -> Poisoned:
    known = isinstance(value, Word | WordPair)
    return scope.fail(
        "OP0208",
        f"`ends` cannot be `{word}`",
        Label(arg.value.span, "unknown word" if known else f"this is {describe(value)}"),
        notes=(f"`ends` is one of: {', '.join(WORDS)}; or one for each end: `odd..even`",),
        helps=did_you_mean(word, WORDS),
    )
