"""Calls by name: of blocks of the language, of blocks written in Python, of activations."""

from __future__ import annotations

import re

from opdsl import blocks
from opdsl.diagnostics import Label, did_you_mean
from opdsl.elaborate.bind.arguments import bind_inputs, bind_parameters
from opdsl.elaborate.bind.domains import CONSTRUCTORS
from opdsl.elaborate.bind.modules import Module, providers
from opdsl.elaborate.bind.outputs import outputs
from opdsl.elaborate.bind.param_types import activations
from opdsl.elaborate.bind.scope import NameScope
from opdsl.elaborate.evaluate.budget import CALL
from opdsl.elaborate.evaluate.budget import SCOPE as SCOPE_STEPS
from opdsl.elaborate.evaluate.expressions import evaluate
from opdsl.elaborate.evaluate.problems import Poisoned
from opdsl.elaborate.evaluate.values import Argument, Value, Word
from opdsl.elaborate.instantiate.place import Place
from opdsl.elaborate.instantiate.primitives import primitive
from opdsl.syntax import tree


def call(place: Place, expr: tree.Call, piped: Argument | None) -> Value:
    """Evaluate a call.

    Args:
        place: where its nodes go.
        expr: the call.
        piped: the function that comes through `|>`.

    Raises:
        Poisoned: after a diagnostic.
    """
    scope, name = place.scope, expr.name
    definition = _definition(scope, expr)
    if definition is not None:
        return _call_block(place, expr, *definition, piped)
    python = blocks.find(name)
    activation = python is None and name in activations()
    if name in CONSTRUCTORS and not activation:
        raise scope.fail(
            "OP0209",
            "a domain is declared by a statement of its own",
            Label(expr.span, "not here"),
            helps=(f"write `domain D = {name}(...)`",),
        )
    if python is None and not activation:
        raise _unknown_operator(scope, expr)
    path = place.claim(name)
    values, named = _arguments(place, expr, piped, path)
    if activation:  # `gelu()` is `apply(gelu)`
        named = {**named, "kind": Argument(Word(name), expr.head, expr.head)}
        name = "apply"
    return primitive(place, name, values, named, (expr.head, expr.span), path)


def _arguments(
    place: Place, expr: tree.Call, piped: Argument | None, path: str
) -> tuple[tuple[Argument, ...], dict[str, Argument]]:
    """Evaluate the arguments, without and with a name; their nodes go below `path`."""
    scope = place.scope
    holes = [x for x in expr.args if x.name is None and isinstance(x.value, tree.Hole)]
    values = [piped] if piped and not holes else []
    named: dict[str, Argument] = {}
    for arg in expr.args:
        if piped and holes and arg is holes[0]:
            values.append(piped)
            continue
        if arg.sign == ":":
            raise scope.fail(
                "OP0208",
                "a parameter is given with `=`",
                Label(arg.span, "`:` declares an axis of a grid"),
            )
        key = arg.name.span if arg.name else arg.span
        argument = Argument(evaluate(scope, arg.value, place.below(path)), arg.value.span, key)
        if arg.name is None:
            values.append(argument)
        elif arg.name.text in named:
            raise scope.fail(
                "OP0203",
                f"`{arg.name.text}` is given twice",
                Label(arg.name.span, "again here"),
                Label(named[arg.name.text].key, "first here"),
            )
        else:
            named[arg.name.text] = argument
    return tuple(values), named


# ---------------------------------------------------------- blocks of the language


def _definition(scope: NameScope, expr: tree.Call) -> tuple[Module, tree.Definition] | None:
    if len(expr.path) == 1:
        match = scope.module.definitions.get(expr.name)
    else:
        module = scope.module.aliases.get(expr.path[0].text)
        match = module.definitions.get(expr.path[1].text) if module else None
    return match if match and match[1].keyword == "block" else None


def _call_block(
    place: Place,
    expr: tree.Call,
    module: Module,
    definition: tree.Definition,
    piped: Argument | None,
) -> Value:
    scope, name = place.scope, definition.name.text
    if definition in scope.above:
        raise scope.problems.fail(
            "OP0211",
            f"`{name}` calls itself",
            Label(expr.head, "called again here"),
            Label(definition.name.span, "inside of this block"),
            helps=("use `repeat`, whose count is known before run time",),
        )
    path = place.claim(snake_case(name))
    values, named = _arguments(place, expr, piped, path)
    scope.budget.step(scope, expr.span, SCOPE_STEPS + len(definition.body))
    place.builder.scope(path, "block", name, span=expr.span)
    frames = (*scope.frames, expr.span)
    inner = NameScope(scope.shared, module, definition, path=path, frames=frames, above=scope.above)
    bind_parameters(inner, named)
    bind_inputs(inner, values, expr.span)
    with scope.budget.inside(scope, expr.head, CALL):
        functions = outputs(inner)
    return functions[0] if len(functions) == 1 else functions


def snake_case(name: str) -> str:
    """Convert a name for a path: `FourierLayer` becomes `fourier_layer`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _unknown_operator(scope: NameScope, expr: tree.Call) -> Poisoned:
    """Report OP0201 for an unknown block, and name the library module to import it from."""
    if scope.lost(expr.name):
        return Poisoned()
    own = [k for k, (_, d) in scope.module.definitions.items() if d.keyword == "block"]
    modules = providers(expr.name)
    helps = did_you_mean(expr.name, [*own, *blocks.names(), *activations()])
    if modules:
        helps = (f"import it: `from {modules[0]} import {expr.name}`",)
    return scope.fail(
        "OP0201",
        f"unknown operator `{expr.name}`",
        Label(expr.head, "not found"),
        helps=helps,
    )
