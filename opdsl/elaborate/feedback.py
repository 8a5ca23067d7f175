"""`feedback out -> in`: an output that becomes an input of the next step in time.

What comes in: a model whose inputs and outputs are known. What goes out: its loops, each checked:
both live on one domain, and the input has room for the output, once or as a window over channels.
"""

from __future__ import annotations

from opdsl.diagnostics import Label, did_you_mean
from opdsl.elaborate import spaces
from opdsl.elaborate.instance import Instance
from opdsl.elaborate.problems import Poisoned
from opdsl.ir.combine_rules import count
from opdsl.ir.graph import Feedback
from opdsl.ir.spaces import Space
from opdsl.syntax import tree


def loops(inst: Instance) -> tuple[Feedback, ...]:
    """The feedback of a model.

    Raises:
        Poisoned: after a diagnostic.
    """
    taken: dict[str, tree.Feedback] = {}
    found = []
    for statement in inst.statements(tree.Feedback):
        first = taken.setdefault(statement.input.text, statement)
        if first is not statement:
            raise inst.problems.fail(
                "OP0203",
                f"input `{statement.input.text}` is fed twice",
                Label(statement.span, "again here"),
                Label(first.span, "first fed here"),
            )
        found.append(_loop(inst, statement))
    return tuple(found)


def _loop(inst: Instance, statement: tree.Feedback) -> Feedback:
    output = _space(inst, statement.output, tree.Output)
    input_ = _space(inst, statement.input, tree.Input)
    _fits(inst, statement, output, input_)
    return Feedback(output=statement.output.text, input=statement.input.text, span=statement.span)


def _space(inst: Instance, name: tree.Ident, kind: type[tree.Input | tree.Output]) -> Space:
    word = "output" if kind is tree.Output else "input"
    known = {x.name.text: x for x in inst.definition.body if isinstance(x, kind)}
    if name.text not in known:
        if name.text in inst.module.lost:
            raise Poisoned
        raise inst.problems.fail(
            "OP0201",
            f"`{inst.definition.name.text}` has no {word} `{name.text}`",
            Label(name.span, "not found"),
            notes=("`feedback` goes from an output to an input",),
            helps=did_you_mean(name.text, list(known)),
        )
    return spaces.declared(inst, known[name.text].type)


def _fits(inst: Instance, statement: tree.Feedback, output: Space, input_: Space) -> None:
    labels = (
        Label(statement.output.span, f"this is `{output}`"),
        Label(statement.input.span, f"this is `{input_}`"),
    )
    if output.domain != input_.domain:
        raise inst.problems.fail("OP0304", "feedback joins functions on different domains", *labels)
    if output.field != input_.field:
        raise inst.problems.fail("OP0312", "feedback joins real and complex functions", *labels)
    if input_.channels % output.channels:
        raise inst.problems.fail(
            "OP0303",
            f"{count(output.channels)} cannot be fed back into {input_.channels}",
            *labels,
            notes=("an input holds the output once, or a window of several steps",),
            helps=(f"give the input {output.channels} channels, or a multiple of it",),
        )
    same = input_.channels == output.channels
    if same and input_.components and output.components and input_.components != output.components:
        raise inst.problems.fail(
            "OP0303",
            "feedback joins components of different names",
            *labels,
            notes=("components match by name and order",),
        )
