"""Calls in losses other than errors and operators: functions of values, truth, ramps, equations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opdsl import resources
from opdsl.diagnostics import Source
from opdsl.elaborate.bind.modules import Module
from opdsl.files import read_text
from opdsl.syntax import tree
from opdsl.syntax.parser import parse
from opdsl.syntax.unparse import expr as text_of
from opdsl.train.losses.expressions.catalogue import RAMP, TRUTH
from opdsl.train.losses.expressions.nodes import Pointwise, Ramp
from opdsl.workflow.losses.values import FunctionValue, TypedValue, WeightValue

if TYPE_CHECKING:
    from opdsl.workflow.losses.expressions import Arguments, Typing

DEPTH = 32  # calls of equations in equations; more is a mistake


def pointwise(typing: Typing, expr: tree.Call, name: str) -> TypedValue:
    """Return the type of a function of the values at each point.

    Raises:
        OpError: OP0702, other arguments.
    """
    (argument,) = typing.plain_arguments(expr, 1, f"{name}(u)")
    typing.options(expr, ())
    value = typing.function(argument)
    channels = 1 if name == "sum" else value.channels
    return FunctionValue(Pointwise(name, value.node), value.domain, channels)


def truth(typing: Typing, expr: tree.Call) -> FunctionValue:
    """Return the truth of an output or of a channel of it.

    Raises:
        OpError: OP0700, the argument is no output.
    """
    (argument,) = typing.plain_arguments(expr, 1, f"{TRUTH}(u)")
    typing.options(expr, ())
    value = typing.function(argument)
    if value.own_truth is None:
        message = f"`{text_of(argument)}` is no output, so that it has no truth"
        outputs = ", ".join(x.name for x in typing.graph.outputs)
        notes = (f"the outputs are: {outputs}",)
        raise typing.fail("OP0700", message, argument.span, notes=notes)
    return value.with_node(value.own_truth)


def ramp(typing: Typing, expr: tree.Call) -> WeightValue:
    """Return a weight that changes from epoch to epoch.

    Raises:
        OpError: OP0702, other arguments.
    """
    usage = f"{RAMP}(0, 1, epochs = 10)"
    first, last = (typing.number(x) for x in typing.plain_arguments(expr, 2, usage))
    options = typing.options(expr, ("epochs", "start"))
    if "epochs" not in options:
        message = f"`{RAMP}` does not say how long it takes"
        raise typing.fail("OP0702", message, expr.span, helps=(f"write `{usage}`",))
    epochs = typing.number(options["epochs"])
    start = typing.number(options["start"]) if "start" in options else 0.0
    if epochs <= 0 or start < 0:
        message = f"`{RAMP}` begins at epoch 0 or later, and takes more than 0 epochs"
        raise typing.fail("OP0702", message, expr.span)
    return WeightValue(1.0, (Ramp(first, last, epochs, start),))


def equation_of(typing: Typing, expr: tree.Call) -> tuple[Module, tree.Equation] | None:
    """Return the equation that is called, with the module that defines it; None for no equation."""
    if typing.names is None:
        return None
    module = typing.scopes[-1][1] if typing.scopes else typing.names.module
    return typing.names.equation(module, tuple(x.text for x in expr.path))


def called(typing: Typing, expr: tree.Call, module: Module, equation: tree.Equation) -> TypedValue:
    """Return the type of an equation with the arguments of a call.

    Raises:
        OpError: OP0702, other arguments; OP0708, the equation calls itself.
    """
    if equation in typing.equations or len(typing.equations) >= DEPTH:
        message = f"the equation `{equation.name.text}` calls itself"
        raise typing.fail("OP0708", message, expr.head, "called again here")
    arguments = _bound(typing, expr, equation)
    with _inside(typing, expr, equation, arguments, module):
        return typing.value(equation.value)


@contextmanager
def _inside(
    typing: Typing, expr: tree.Call, equation: tree.Equation, arguments: Arguments, module: Module
) -> Iterator[None]:
    typing.frames.append(expr.span)
    typing.scopes.append((arguments, module))
    typing.equations.append(equation)
    try:
        yield
    finally:
        typing.frames.pop()
        typing.scopes.pop()
        typing.equations.pop()


def _bound(typing: Typing, expr: tree.Call, equation: tree.Equation) -> dict[str, TypedValue]:
    """Return the values of the arguments of an equation."""
    names = [x.name.text for x in equation.args]
    usage = f"{equation.name.text}({', '.join(names)})"
    plain = [x.value for x in expr.args if x.name is None]
    if len(plain) > len(names):
        message = f"`{expr.name}` has {len(names)} arguments, not {len(plain)}"
        raise typing.fail("OP0702", message, expr.span, helps=(f"write `{usage}`",))
    bound = {k: typing.value(x) for k, x in zip(names, plain, strict=False)}
    for key, value in typing.options(expr, names).items():
        if key in bound:
            raise typing.fail("OP0702", f"`{key}` is given twice", value.span)
        bound[key] = typing.value(value)
    for arg in equation.args:
        if arg.name.text in bound:
            continue
        if arg.value is None:
            message = f"`{expr.name}` misses its argument `{arg.name.text}`"
            raise typing.fail("OP0702", message, expr.span, helps=(f"write `{usage}`",))
        bound[arg.name.text] = typing.value(arg.value)
    return bound


def library_equations() -> tuple[str, ...]:
    """Return the names of the equations of `std.physics`."""
    path = resources.root("library") / "physics.op"
    if not path.is_file():
        return ()
    file, _ = parse(Source("library/physics.op", read_text(path), library=True))
    return tuple(x.name.text for x in file.items if isinstance(x, tree.Equation))
