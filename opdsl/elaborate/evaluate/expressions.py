"""The evaluator: from an expression to its value.

Where an expression makes nodes of the graph, `Nodes` makes them; with `nodes = None` such an
expression is an error.
"""

from __future__ import annotations

from opdsl.diagnostics import Label, did_you_mean
from opdsl.elaborate.evaluate import arithmetic
from opdsl.elaborate.evaluate.budget import EXPRESSION
from opdsl.elaborate.evaluate.environment import Environment, Nodes
from opdsl.elaborate.evaluate.faults import not_defined, unknown_name
from opdsl.elaborate.evaluate.problems import Poisoned
from opdsl.elaborate.evaluate.values import Function, Value, Word, describe
from opdsl.ir.dims import Poly
from opdsl.syntax import tree

NODE_NAMES = {"+": "add", "-": "sub", "*": "mul"}  # the block of an operator between functions


def evaluate(env: Environment, expr: tree.Expr, nodes: Nodes | None = None) -> Value:
    """Evaluate an expression.

    Args:
        env: the names that the expression can read.
        expr: the expression.
        nodes: where the expression may make nodes; None: nowhere.

    Raises:
        Poisoned: after a diagnostic.
    """
    budget = env.budget
    budget.step(env, expr.span)
    budget.enter(env, expr.span, EXPRESSION)
    try:
        value = expr.value if isinstance(expr, tree.Literal) else _compound(env, expr, nodes)
    finally:
        budget.frames -= EXPRESSION
    budget.value(env, value, expr.span)
    return value


def _compound(env: Environment, expr: tree.Expr, nodes: Nodes | None) -> Value:
    match expr:
        case tree.Name():
            return _name(env, expr)
        case tree.Sequence():
            inside = nodes.below() if nodes else None
            return tuple(evaluate(env, x, inside) for x in expr.items)
        case tree.If():
            return evaluate(env, expr.yes if condition(env, expr.test) else expr.no, nodes)
        case tree.Unary():
            return _unary(env, expr, nodes)
        case tree.Binary():
            return _binary(env, expr, nodes)
        case tree.Call() | tree.Pipe():
            return _call(env, expr, nodes)
        case tree.Index():
            return _index(env, expr, nodes)
        case tree.Member():
            return _member(env, expr)
        case _:
            raise _hole(env, expr)


def _hole(env: Environment, expr: tree.Expr) -> Poisoned:
    return env.fail(
        "OP0107",
        "`_` stands for a function that comes through `|>`",
        Label(expr.span, "it is an argument of a call behind `|>`, without a name"),
        helps=("write it as one of the functions that the call takes: `v |> sub(u, _)`",),
    )


# ------------------------------------------------------------------------ names


def _name(env: Environment, expr: tree.Name) -> Value:
    value = env.lookup(expr.text)
    if value is not None:
        return value
    if env.lost(expr.text):
        raise Poisoned
    # a bare word such as `gelu`: the parameter that takes it knows whether it is valid
    return Word(expr.text, expr.span)


def _member(env: Environment, expr: tree.Member) -> Value:
    """Evaluate `module.CONST`."""
    module = expr.value.text if isinstance(expr.value, tree.Name) else ""
    value = env.member(module, expr.name.text)
    if value is not None:
        return value
    raise env.fail(
        "OP0201",
        f"unknown name `{expr.span.text}`",
        Label(expr.name.span, "not found"),
        notes=("a dot leads to the constants of an imported module",),
        helps=did_you_mean(expr.name.text, list(env.members(module))),
    )


def _index(env: Environment, expr: tree.Index, nodes: Nodes | None) -> Value:
    """Evaluate an element of a tuple, or channels of a function, by number or name."""
    value = evaluate(env, expr.value, nodes.below() if nodes else None)
    index = evaluate(env, expr.index)
    if isinstance(value, Function) and nodes:
        return nodes.select(expr, value, index)
    if isinstance(value, tuple) and isinstance(index, int) and not isinstance(index, bool):
        if 0 <= index < len(value):
            return value[index]
        raise env.fail(
            "OP0208",
            f"there is no element {index}",
            Label(expr.index.span, f"the tuple has the elements 0 to {len(value) - 1}"),
        )
    spans = (expr.value.span, expr.index.span)
    raise not_defined(env, expr.span, "[ ]", (value, index), spans)


# -------------------------------------------------------------------- operators


def condition(env: Environment, expr: tree.Expr) -> bool:
    """Evaluate a condition.

    Raises:
        Poisoned: after a diagnostic; it is neither true nor false.
    """
    value = evaluate(env, expr)
    if isinstance(value, bool):
        return value
    if isinstance(value, Word):
        raise unknown_name(env, value, expr.span)
    raise env.fail(
        "OP0209",
        "a condition is true or false",
        Label(expr.span, f"this is {describe(value)}"),
    )


def _unary(env: Environment, expr: tree.Unary, nodes: Nodes | None) -> Value:
    if expr.sign == "not":
        return not condition(env, expr.value)
    value = evaluate(env, expr.value, nodes.below() if nodes else None)
    if expr.sign == "+":
        return value
    if isinstance(value, Function) and nodes:
        return nodes.negate(expr, value)
    result = arithmetic.negative(value)
    if result is None:
        raise not_defined(env, expr.sign_span, expr.sign, (value,), (expr.value.span,))
    return result


def _binary(env: Environment, expr: tree.Binary, nodes: Nodes | None) -> Value:
    if expr.sign in ("and", "or"):
        first = condition(env, expr.left)
        decided = first if expr.sign == "or" else not first
        return first if decided else condition(env, expr.right)
    # the path is claimed before the operands are evaluated, whose nodes lie below it
    path = nodes.claim(NODE_NAMES.get(expr.sign, "scale")) if nodes else ""
    inside = nodes.below(path) if nodes else None
    left = evaluate(env, expr.left, inside)
    right = evaluate(env, expr.right, inside)
    if nodes:
        if isinstance(left, Function) or isinstance(right, Function):
            return nodes.combine(expr, left, right, path)
        nodes.release(path)
    result = arithmetic.binary(expr.sign, left, right)
    if result is None:
        spans = (expr.left.span, expr.right.span)
        raise not_defined(env, expr.sign_span, expr.sign, (left, right), spans)
    return result


# ------------------------------------------------------------------------ calls


def _call(env: Environment, expr: tree.Call | tree.Pipe, nodes: Nodes | None) -> Value:
    if isinstance(expr, tree.Call) and expr.name in arithmetic.FUNCTIONS:
        return _function(env, expr)
    if nodes is None:
        chain = isinstance(expr, tree.Pipe)
        raise env.fail(
            "OP0209",
            f"a number or a word is needed here, not a {'chain' if chain else 'function'}",
            Label(expr.span, f"this makes {'nodes' if chain else 'a node'} of the graph"),
        )
    return nodes.call(expr) if isinstance(expr, tree.Call) else nodes.pipe(expr)


def _function(env: Environment, expr: tree.Call) -> Value:
    """Evaluate a call of a function of numbers, such as `max(a, b)`."""
    values = [evaluate(env, x.value) for x in expr.args]
    for arg, value in zip(expr.args, values, strict=True):
        if isinstance(value, Word):
            raise unknown_name(env, value, arg.span)
    numbers = [x for x in values if isinstance(x, Poly) or arithmetic.is_number(x)]
    if len(numbers) < len(values) or any(x.name for x in expr.args):
        raise _takes_numbers(env, expr)
    try:
        return arithmetic.function(expr.name, numbers)
    except (TypeError, ValueError, OverflowError) as error:
        raise _takes_numbers(env, expr) from error


def _takes_numbers(env: Environment, expr: tree.Call) -> Poisoned:
    named = next((x for x in expr.args if x.name), None)
    return env.fail(
        "OP0209",
        f"`{expr.name}` takes numbers",
        Label(expr.span, "these do not fit"),
        helps=(f"leave out the names: `{expr.name}({named.value.span.text})`",) if named else (),
    )
