"""Checks of equations at their definition, whether they are called or not."""

from __future__ import annotations

from collections.abc import Iterator

from opdsl.diagnostics import OpError, did_you_mean
from opdsl.elaborate.instantiate.names import FileNames
from opdsl.ir.graph import Graph
from opdsl.syntax import tree
from opdsl.train.losses import LOSSES
from opdsl.workflow.losses.expressions import KNOWN, WORDS
from opdsl.workflow.losses.reporting import problem


def equation_errors(file: tree.File, graph: Graph, names: FileNames) -> Iterator[OpError]:
    """Yield what is wrong with each equation of a file, whatever it is called with.

    Args:
        file: the program.
        graph: of a model in it, whose axes equations may name.
        names: the equations and constants that the file knows.
    """
    ports = (*graph.inputs, *graph.outputs)
    axes = {a.name for x in ports for a in x.space.domain.axes}
    for item in file.items:
        if isinstance(item, tree.Equation):
            yield from _errors(item, names, axes)


def _errors(item: tree.Equation, names: FileNames, axes: set[str]) -> Iterator[OpError]:
    name, arguments = item.name.text, [x.name for x in item.args]
    if name in KNOWN:
        message = f"`{name}` is a function of every loss and cannot be an equation"
        yield problem("OP0708", message, item.name.span, helps=("give it another name",))
    seen: set[str] = set()
    for x in arguments:
        if x.text in seen:
            yield problem("OP0708", f"`{name}` has two arguments `{x.text}`", x.span)
        seen.add(x.text)
    for call in _calls(item.value):
        path = tuple(x.text for x in call.path)
        known = call.name in KNOWN or names.equation(names.module, path) or LOSSES.find(call.name)
        if not known:
            helps = did_you_mean(call.name, [*KNOWN, *names.module.equations])
            message = f"a loss has no function `{call.name}`"
            yield problem("OP0701", message, call.head, "not found", helps=helps)
    words = {*seen, *axes, *WORDS, "true", "false"}
    for read in _names(item.value):
        if read.text in words or names.number(names.module, read.text) is not None:
            continue
        message = f"`{read.text}` is no argument of the equation and no constant"
        helps = did_you_mean(read.text, sorted(seen))
        yield problem("OP0700", message, read.span, "not found", helps=helps)


def _calls(node: object) -> Iterator[tree.Call]:
    if isinstance(node, tree.Call):
        yield node
    for child in _children(node):
        yield from _calls(child)


def _names(node: object) -> Iterator[tree.Name]:
    """Yield the names that are read, but for words of options: `side = lower`."""
    if isinstance(node, tree.Name):
        yield node
    if isinstance(node, tree.Arg) and node.name is not None and isinstance(node.value, tree.Name):
        return
    for child in _children(node):
        yield from _names(child)


def _children(node: object) -> tuple[object, ...]:
    match node:
        case tree.Call():
            return node.args
        case tree.Arg() | tree.Unary() | tree.Member():
            return (node.value,)
        case tree.Index():
            return node.value, node.index
        case tree.Binary():
            return node.left, node.right
        case tree.Sequence():
            return node.items
    return ()
