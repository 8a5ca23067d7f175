"""`require test "text"`: conditions that a definition sets for its parameters."""

from __future__ import annotations

from opdsl.diagnostics import Label
from opdsl.elaborate.bind.scope import NameScope
from opdsl.elaborate.evaluate.problems import Poisoned
from opdsl.elaborate.evaluate.values import show
from opdsl.ir.dims import Undecided
from opdsl.syntax import tree


def check_requirements(scope: NameScope) -> None:
    """Check every requirement of a definition; what depends on open sizes is left to the calls.

    Raises:
        Poisoned: after OP0320.
    """
    for statement in scope.statements(tree.Require):
        try:
            holds = scope.number(statement.test)
        except Undecided:
            continue
        if holds is not True:
            raise _not_met(scope, statement)


def _not_met(scope: NameScope, statement: tree.Require) -> Poisoned:
    text = statement.doc.text if statement.doc else f"`{statement.test.span.text}` is not true"
    place = [Label(scope.frames[-1])] if scope.frames else []
    names = _names_in(statement.test)
    values = [f"{x} = {show(v)}" for x in names if (v := scope.lookup(x))]
    return scope.fail(
        "OP0320",
        text,
        *place,
        Label(statement.test.span, "required here"),
        notes=(f"with {', '.join(values)}",) if values else (),
    )


def _names_in(expr: tree.Expr) -> list[str]:
    match expr:
        case tree.Name():
            return [expr.text]
        case tree.Binary():
            return _names_in(expr.left) + _names_in(expr.right)
        case tree.Unary():
            return _names_in(expr.value)
        case tree.Call():
            return [x for arg in expr.args for x in _names_in(arg.value)]
    return []
