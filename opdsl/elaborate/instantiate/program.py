"""From a parsed file to a graph: the model is chosen, instantiated, and its nodes collected.

The graph exists only if nothing is wrong with its spaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from opdsl.diagnostics import Diagnostic, Label, did_you_mean
from opdsl.elaborate.bind.arguments import bind_parameters
from opdsl.elaborate.bind.modules import Loader, Module, models
from opdsl.elaborate.bind.outputs import outputs
from opdsl.elaborate.bind.port_ends import port_ends
from opdsl.elaborate.bind.scope import NameScope, Shared, file_scope
from opdsl.elaborate.bind.types import declared
from opdsl.elaborate.bind.words import unknown_word
from opdsl.elaborate.evaluate.budget import Budget
from opdsl.elaborate.evaluate.faults import unknown_name
from opdsl.elaborate.evaluate.problems import Poisoned, Problems
from opdsl.elaborate.evaluate.values import Argument, Function, Value, Word, plain
from opdsl.elaborate.instantiate.builder import GraphBuilder
from opdsl.elaborate.instantiate.definitions import check_definitions
from opdsl.elaborate.instantiate.feedback import feedback
from opdsl.elaborate.instantiate.graph_place import Bindings
from opdsl.ir.graph import Graph, Port
from opdsl.ir.spaces import Domain
from opdsl.syntax import tree


def elaborate(
    file: tree.File,
    *,
    model: str | None = None,
    arguments: Mapping[str, Argument] | None = None,
    folder: Path | None = None,
    budget: Budget | None = None,
) -> tuple[Graph | None, tuple[Diagnostic, ...]]:
    """Elaborate a model; the graph is None if a diagnostic is an error.

    Args:
        file: a parsed program.
        model: which of the file's models; may be left out where there is one.
        arguments: values of the model's parameters, instead of their defaults.
        folder: where the file stands; its imports stay inside.
        budget: what the evaluation may cost; of one file, all models share it.
    """
    problems = Problems()
    loader = Loader(problems, folder)
    budget = budget or Budget()
    module = loader.module(file, folder)
    _evaluate_constants(module, problems, budget)
    try:
        graph = _graph(module, _choose(problems, module, model), problems, arguments or {}, budget)
    except Poisoned:
        graph = None
    for each in (module, *loader.loaded.values()):
        if not each.file.source.library:  # tests of the package check the library
            if each is not module:
                _evaluate_constants(each, problems, budget)
            for fault in check_definitions(each, list(problems.diagnostics), budget):
                problems.add(fault)
    errors = any(x.severity == "error" for x in problems.diagnostics)
    return (None if errors else graph), tuple(problems.diagnostics)


def _choose(problems: Problems, module: Module, name: str | None) -> tree.Definition:
    choices = models(module.file)
    names = [x.name.text for x in choices]
    if name is None and len(choices) == 1:
        return choices[0]
    if name in names:
        return choices[names.index(name)]
    if not choices and module.lost:
        raise Poisoned
    source = module.file.source
    if not choices:
        raise problems.fail(
            "OP0210",
            "this program has no model",
            Label(source.span(len(source.text), len(source.text)), "the file ends here"),
            helps=("add one: `model Name { ... }`",),
        )
    if name is None:
        raise problems.fail(
            "OP0210",
            f"this program has {len(choices)} models",
            *(Label(x.name.span, "one of them") for x in choices),
            helps=(f"choose one: `--model {names[0]}`",),
        )
    raise problems.fail(
        "OP0210",
        f"this program has no model `{name}`",
        *(Label(x.name.span, "a model") for x in choices),
        helps=did_you_mean(name, names),
    )


def _evaluate_constants(module: Module, problems: Problems, budget: Budget) -> None:
    """Evaluate the constants of a file, used or not, in the order of the text.

    In this order a chain of constants of any length needs no recursion, unless it is written
    backwards.
    """
    scope = file_scope(Shared(problems, budget, Bindings(GraphBuilder()).compute), module)
    for const in module.consts.values():
        try:
            value = scope.constant(const)
        except Poisoned:
            continue
        if isinstance(value, Word | tuple) and const.module is module:
            _check_words(scope, const.statement, value)


def _check_words(scope: NameScope, const: tree.Const, value: Value) -> None:
    file = scope.module.file
    others = tuple(x for x in file.items if x is not const)
    if models(file):  # the constants of a file of blocks are read by the files that import it
        word = unknown_word(scope, const.name.text, value, others)
        if word is not None:
            unknown_name(scope, word, const.value.span)


def _graph(
    module: Module,
    definition: tree.Definition,
    problems: Problems,
    arguments: Mapping[str, Argument],
    budget: Budget,
) -> Graph:
    builder = GraphBuilder()
    shared = Shared(problems, budget, Bindings(builder).compute)
    scope = NameScope(shared, module, definition)
    bind_parameters(scope, arguments)
    _bind_inputs(scope)
    functions = outputs(scope)
    loops = feedback(scope)
    source = module.file
    params = [x.name.text for x in scope.statements(tree.Param)]
    ends = zip(scope.statements(tree.Output), functions, strict=True)
    return Graph(
        name=definition.name.text,
        doc=definition.doc.text if definition.doc else None,
        edition=source.edition.year if source.edition else 0,
        params={x: _plain(scope.lookup(x)) for x in params},
        domains=_declared(scope),
        inputs=tuple(_input(scope, x) for x in scope.inputs),
        outputs=tuple(_port(scope, x, function) for x, function in ends),
        nodes=tuple(builder.nodes),
        feedback=loops,
        scopes=tuple(builder.scopes),
        places=shared.places,
    )


def _bind_inputs(scope: NameScope) -> None:
    """Bind the inputs of a model to functions of their declared spaces; all errors at once."""
    failed = False
    for statement in scope.inputs:
        try:
            space = declared(scope, statement.type)
        except Poisoned:
            scope.entries[statement.name.text].state = "bad"
            failed = True
            continue
        scope.entries[statement.name.text].settle(Function(statement.name.text, space))
    if failed:
        _evaluate_rest(scope)
        raise Poisoned


def _evaluate_rest(scope: NameScope) -> None:
    """Report also the errors that do not depend on the inputs."""
    try:
        outputs(scope)
    except Poisoned:
        return


def _declared(scope: NameScope) -> tuple[Domain, ...]:
    """Return the declared domains, without those derived from another one."""
    values = [scope.lookup(x.name.text) for x in scope.statements(tree.Domain)]
    roots = (y for x in values if isinstance(x, Domain) for y in x.declared)
    return tuple({x.name: x for x in roots}.values())


def _input(scope: NameScope, statement: tree.Input) -> Port:
    value = scope.lookup(statement.name.text)
    if not isinstance(value, Function):
        raise Poisoned  # `_bind_inputs` has reported why
    return _port(scope, statement, value)


def _port(scope: NameScope, statement: tree.Input | tree.Output, function: Function) -> Port:
    return Port(
        name=statement.name.text,
        space=function.space,
        source=function.ref,
        doc=statement.doc.text if statement.doc else None,
        span=statement.span,
        ends=port_ends(scope, statement, function.space),
    )


def _plain(value: Value | None) -> object:
    return None if value is None else plain(value)
