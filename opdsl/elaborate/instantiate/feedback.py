"""`feedback out -> in`: an output that becomes an input of the next step in time.

Both live on one domain, and the input holds the output once, or a window of several steps over its
channels.
"""

from __future__ import annotations

from opdsl.diagnostics import Label, did_you_mean
from opdsl.elaborate.bind.scope import NameScope
from opdsl.elaborate.bind.types import declared
from opdsl.elaborate.evaluate.problems import Poisoned
from opdsl.ir.combine_rules import count
from opdsl.ir.dims import decided
from opdsl.ir.graph import Feedback
from opdsl.ir.spaces import Space
from opdsl.syntax import tree


def feedback(scope: NameScope) -> tuple[Feedback, ...]:
    """Check the `feedback` statements of a model whose inputs and outputs are known.

    Raises:
        Poisoned: after a diagnostic.
    """
    by_input: dict[str, tree.Feedback] = {}
    loops = []
    for statement in scope.statements(tree.Feedback):
        first = by_input.setdefault(statement.input.text, statement)
        if first is not statement:
            raise scope.problems.fail(
                "OP0203",
                f"input `{statement.input.text}` is fed twice",
                Label(statement.span, "again here"),
                Label(first.span, "first fed here"),
            )
        loops.append(_loop(scope, statement))
    return tuple(loops)


def _loop(scope: NameScope, statement: tree.Feedback) -> Feedback:
    output = _space(scope, statement.output, tree.Output)
    input_ = _space(scope, statement.input, tree.Input)
    _check_spaces(scope, statement, output, input_)
    return Feedback(output=statement.output.text, input=statement.input.text, span=statement.span)


def _space(scope: NameScope, name: tree.Ident, kind: type[tree.Input | tree.Output]) -> Space:
    word = "output" if kind is tree.Output else "input"
    ports = {x.name.text: x for x in scope.definition.body if isinstance(x, kind)}
    if name.text not in ports:
        if scope.lost(name.text):
            raise Poisoned
        raise scope.problems.fail(
            "OP0201",
            f"`{scope.definition.name.text}` has no {word} `{name.text}`",
            Label(name.span, "not found"),
            notes=("`feedback` goes from an output to an input",),
            helps=did_you_mean(name.text, list(ports)),
        )
    return declared(scope, ports[name.text].type)


def _check_spaces(scope: NameScope, statement: tree.Feedback, output: Space, input_: Space) -> None:
    labels = (
        Label(statement.output.span, f"this is `{output}`"),
        Label(statement.input.span, f"this is `{input_}`"),
    )
    if output.domain != input_.domain:
        raise scope.problems.fail(
            "OP0304", "feedback joins functions on different domains", *labels
        )
    if output.field != input_.field:
        raise scope.problems.fail("OP0312", "feedback joins real and complex functions", *labels)
    if decided(input_.channels) % decided(output.channels):
        raise scope.problems.fail(
            "OP0303",
            f"{count(output.channels)} cannot be fed back into {input_.channels}",
            *labels,
            notes=("an input holds the output once, or a window of several steps",),
            helps=(f"give the input {output.channels} channels, or a multiple of it",),
        )
    same = input_.channels == output.channels
    if same and input_.components and output.components and input_.components != output.components:
        raise scope.problems.fail(
            "OP0303",
            "feedback joins components of different names",
            *labels,
            notes=("components match by name and order",),
        )
