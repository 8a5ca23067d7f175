"""From a parsed file to a graph: the model is chosen, instantiated, and its nodes collected.

What comes in: a `syntax.File` and the values given from outside. What goes out: a graph, or None,
and every diagnostic. The graph exists only if nothing was wrong with its spaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from opdsl.diagnostics import Diagnostic, Label, did_you_mean
from opdsl.elaborate import spaces
from opdsl.elaborate.budget import Budget
from opdsl.elaborate.builder import Builder
from opdsl.elaborate.definitions import faults
from opdsl.elaborate.feedback import loops
from opdsl.elaborate.instance import Given, Instance, Shared, file_scope
from opdsl.elaborate.modules import Loader, Module
from opdsl.elaborate.problems import Poisoned, Problems
from opdsl.elaborate.values import Fn, Value, Word
from opdsl.ir.graph import Graph, Port
from opdsl.ir.spaces import Domain
from opdsl.syntax import tree


def elaborate(
    file: tree.File,
    *,
    model: str | None = None,
    given: Mapping[str, Given] | None = None,
    folder: Path | None = None,
    budget: Budget | None = None,
) -> tuple[Graph | None, tuple[Diagnostic, ...]]:
    """The graph of a model.

    Args:
        model: which of the file's models; may be left out where there is one.
        given: values of the model's parameters, instead of their defaults.
        folder: where the file stands; its imports stay inside.
        budget: what the evaluation may cost; of one file, all models share it.
    """
    problems = Problems()
    loader = Loader(problems, folder)
    budget = budget or Budget()
    module = loader.module(file, folder)
    _constants(module, problems, budget)
    try:
        graph = _graph(module, _choose(problems, module, model), problems, given or {}, budget)
    except Poisoned:
        graph = None
    for each in (module, *loader.loaded.values()):
        if not each.file.source.library:  # the library's own tests check it
            if each is not module:
                _constants(each, problems, budget)
            for fault in faults(each, list(problems.found), budget):
                problems.add(fault)
    errors = any(x.severity == "error" for x in problems.found)
    return (None if errors else graph), tuple(problems.found)


def models(file: tree.File) -> tuple[tree.Definition, ...]:
    """The models that a file defines, in order."""
    return tuple(x for x in file.items if isinstance(x, tree.Definition) and x.keyword == "model")


def _choose(problems: Problems, module: Module, name: str | None) -> tree.Definition:
    found = models(module.file)
    names = [x.name.text for x in found]
    if name is None and len(found) == 1:
        return found[0]
    if name in names:
        return found[names.index(name)]
    if not found and module.lost:
        raise Poisoned
    source = module.file.source
    if not found:
        raise problems.fail(
            "OP0210",
            "this program has no model",
            Label(source.span(len(source.text), len(source.text)), "the file ends here"),
            helps=("add one: `model Name { ... }`",),
        )
    if name is None:
        raise problems.fail(
            "OP0210",
            f"this program has {len(found)} models",
            *(Label(x.name.span, "one of them") for x in found),
            helps=(f"choose one: `--model {names[0]}`",),
        )
    raise problems.fail(
        "OP0210",
        f"this program has no model `{name}`",
        *(Label(x.name.span, "a model") for x in found),
        helps=did_you_mean(name, names),
    )


def _constants(module: Module, problems: Problems, budget: Budget) -> None:
    """Evaluate the constants of a file, used or not, in the order of the text.

    So a chain of any length is never deep, unless it is written backwards.
    """
    scope = file_scope(Shared(problems, Builder(), budget), module)
    for const in module.consts.values():
        try:
            value = scope.constant(const)
        except Poisoned:
            continue
        if isinstance(value, Word | tuple) and const.module is module:
            _known_words(scope, const.statement, value)


def _known_words(scope: Instance, const: tree.Const, value: Value) -> None:
    from opdsl.elaborate.expressions import unknown
    from opdsl.elaborate.vocabulary import unknown_word

    file = scope.module.file
    others = tuple(x for x in file.items if x is not const)
    if models(file):  # the constants of a file of blocks are read by the files that import it
        word = unknown_word(scope, const.name.text, value, others)
        if word is not None:
            unknown(scope, word, const.value.span)


def _graph(
    module: Module,
    definition: tree.Definition,
    problems: Problems,
    given: Mapping[str, Given],
    budget: Budget,
) -> Graph:
    shared = Shared(problems, Builder(), budget)
    inst = Instance(shared, module, definition)
    inst.give(given)
    _open_inputs(inst)
    outputs = inst.run()
    feedback = loops(inst)
    source = module.file
    return Graph(
        name=definition.name.text,
        doc=definition.doc.text if definition.doc else None,
        edition=source.edition.year if source.edition else 0,
        params={x.name.text: _plain(inst.lookup(x.name.text)) for x in inst.statements(tree.Param)},
        domains=_declared(inst),
        inputs=tuple(_input(inst, x) for x in inst.inputs),
        outputs=tuple(
            _port(x, fn) for x, fn in zip(inst.statements(tree.Output), outputs, strict=True)
        ),
        nodes=tuple(shared.builder.nodes),
        feedback=feedback,
        scopes=tuple(shared.builder.scopes),
        places=shared.places,
    )


def _open_inputs(inst: Instance) -> None:
    """The inputs of a model are what its types say; all faults at once."""
    failed = False
    for statement in inst.inputs:
        try:
            space = spaces.declared(inst, statement.type)
        except Poisoned:
            inst.entries[statement.name.text].state = "bad"
            failed = True
            continue
        inst.entries[statement.name.text].settle(Fn(statement.name.text, space))
    if failed:
        _evaluate_rest(inst)
        raise Poisoned


def _evaluate_rest(inst: Instance) -> None:
    """What does not hang on the broken inputs is checked all the same."""
    try:
        inst.run()
    except Poisoned:
        return


def _declared(inst: Instance) -> tuple[Domain, ...]:
    """The domains that are no step from another one."""
    values = [inst.lookup(x.name.text) for x in inst.statements(tree.Domain)]
    found = (y for x in values if isinstance(x, Domain) for y in x.declared)
    return tuple({x.name: x for x in found}.values())


def _input(inst: Instance, statement: tree.Input) -> Port:
    value = inst.lookup(statement.name.text)
    if not isinstance(value, Fn):
        raise Poisoned  # `_open_inputs` has said why
    return _port(statement, value)


def _port(statement: tree.Input | tree.Output, fn: Fn) -> Port:
    return Port(
        name=statement.name.text,
        space=fn.space,
        source=fn.ref,
        doc=statement.doc.text if statement.doc else None,
        span=statement.span,
    )


def _plain(value: Value | None) -> object:
    if isinstance(value, Word):
        return value.text
    return tuple(_plain(x) for x in value) if isinstance(value, tuple) else value
