"""The names of one definition: a model, or a block in the place where it is called.

A name is evaluated when it is first read, so statements stand in any order; a name that is read
while it is being evaluated is a cycle.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from opdsl.diagnostics import Help, Label, Span, did_you_mean
from opdsl.elaborate.bind.domain_options import OptionReader
from opdsl.elaborate.bind.domains import CONSTRUCTORS, read_domain
from opdsl.elaborate.bind.modules import Module, NamedConstant
from opdsl.elaborate.bind.parameters import as_domain, check_kind, convert
from opdsl.elaborate.bind.site import Site
from opdsl.elaborate.evaluate.budget import NAME, Budget
from opdsl.elaborate.evaluate.expressions import evaluate
from opdsl.elaborate.evaluate.problems import Poisoned, Problems
from opdsl.elaborate.evaluate.values import Value
from opdsl.ir.dims import Undecided
from opdsl.ir.spaces import Domain
from opdsl.syntax import tree

T = TypeVar("T", bound=tree.Statement)
Compute = Callable[["NameScope", tree.Bind], tuple[Value, ...]]


@dataclass(slots=True, eq=False, repr=False)
class Shared:
    """State that all scopes of one elaboration share.

    Attributes:
        budget: what the evaluation of the whole program may still cost.
        compute: evaluates a binding, and makes its nodes.
        places: where each domain, and each promise of one, is declared.
    """

    problems: Problems
    budget: Budget
    compute: Compute
    places: dict[str, Span] = field(default_factory=dict)


@dataclass(slots=True, eq=False, repr=False)
class Entry:
    """A declared name and the state of its evaluation."""

    statement: tree.Statement
    name: tree.Ident
    state: Literal["new", "busy", "done", "bad"] = "new"
    value: Value | None = None

    def settle(self, value: Value) -> None:
        """Set the value of the name."""
        self.state, self.value = "done", value


class NameScope:
    """A definition being evaluated; the `Environment` of its expressions.

    Attributes:
        path: prefix of the nodes it makes; empty for the model.
        frames: the calls that lead here, the user's first.
        locals: indices of the repeats around the expression being evaluated.
    """

    def __init__(
        self,
        shared: Shared,
        module: Module,
        definition: tree.Definition,
        *,
        path: str = "",
        frames: tuple[Span, ...] = (),
        above: tuple[tree.Definition, ...] = (),
    ) -> None:
        self.shared = shared
        self.problems = shared.problems
        self.budget = shared.budget
        self.module = module
        self.definition = definition
        self.path = path
        self.frames = frames
        self.above = (*above, definition)
        self.site = Site(definition, shared.problems, frames, shared.places)
        self.domains = OptionReader(shared.problems, self.number, shared.places)
        self.busy: list[str] = []
        self.locals: dict[str, Value] = {}
        self.entries = self._declare()

    def _declare(self) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for statement in self.definition.body:
            for name in _names(statement):
                if name.text in entries:
                    self._twice(entries[name.text].name, name)
                else:
                    entries[name.text] = Entry(statement, name)
        return entries

    def _twice(self, first: tree.Ident, again: tree.Ident) -> None:
        name = again.text
        self.problems.fail(
            "OP0203",
            f"`{name}` is bound twice",
            Label(again.span, f"`{name}` is bound again here"),
            Label(first.span, "first bound here"),
            notes=(
                "a name stands for one node of the graph, so checkpoints and diagrams stay stable",
            ),
            helps=(
                "give the second node its own name, or chain both with `|>`"
                if self.binding(name)
                else "give the second one its own name",
            ),
        )

    # ---------------------------------------------------------------- statements

    def statements(self, kind: type[T]) -> Iterator[T]:
        """Yield the statements of one kind, in order."""
        return (x for x in self.definition.body if isinstance(x, kind))

    @property
    def inputs(self) -> tuple[tree.Input, ...]:
        """The declared inputs, in order."""
        return tuple(self.statements(tree.Input))

    def binding(self, name: str) -> tree.Bind | None:
        """Return the statement that binds a name, or None."""
        bindings = self.statements(tree.Bind)
        return next((x for x in bindings if any(y.text == name for y in x.names)), None)

    # --------------------------------------------------- as an Environment, see there

    def fail(
        self,
        code: str,
        message: str,
        *labels: Label,
        notes: Iterable[str] = (),
        helps: Iterable[str | Help] = (),
    ) -> Poisoned:
        """Report an error, blamed on the calls that lead here; the result is to be raised."""
        return self.problems.fail(
            code, message, *labels, frames=self.frames, notes=notes, helps=helps
        )

    def lookup(self, name: str) -> Value | None:
        """Find the value of a name, evaluated now if need be; None if nothing declares it.

        Raises:
            Poisoned: it cannot be evaluated; the reason is reported.
        """
        if name in self.locals:
            return self.locals[name]
        entry = self.entries.get(name)
        if entry is None:
            const = self.module.consts.get(name)
            return self.constant(const) if const else None
        if entry.state == "new":
            self.evaluate_entry(entry)
        if entry.state == "busy":
            raise self._cycle(name)
        if entry.state == "bad" or entry.value is None:
            raise Poisoned
        return entry.value

    def member(self, module: str, name: str) -> Value | None:
        """Find the constant `module.name` of an imported module; None if there is none."""
        imported = self.module.aliases.get(module)
        const = imported.consts.get(name) if imported else None
        return self.constant(const) if const else None

    def names(self) -> Collection[str]:
        """Return the names declared in this definition."""
        return self.entries

    def members(self, module: str) -> Collection[str]:
        """Return the names of the constants of an imported module."""
        imported = self.module.aliases.get(module)
        return imported.consts if imported else ()

    def lost(self, name: str) -> bool:
        """Return whether the statement or import of the name failed, which is already reported."""
        return name in self.module.lost

    # ----------------------------------------------------------------- evaluation

    def number(self, expr: tree.Expr) -> Value:
        """Evaluate an expression that makes no node of the graph.

        Raises:
            Poisoned: after a diagnostic.
        """
        return evaluate(self, expr)

    def evaluate_entry(self, entry: Entry) -> None:
        """Evaluate a declared name; its entry is then `done` or `bad`."""
        entry.state = "busy"
        self.busy.append(entry.name.text)
        # the index of a repeat is visible in its own body only
        saved, self.locals = self.locals, {}
        try:
            with self.budget.inside(self, entry.name.span, NAME):
                self._settle(entry)
        except (Poisoned, Undecided):
            entry.state = "bad"
        finally:
            self.locals = saved
            self.busy.pop()

    def _settle(self, entry: Entry) -> None:
        statement = entry.statement
        match statement:
            case tree.Bind():
                values = self.shared.compute(self, statement)
                for name, value in zip(statement.names, values, strict=True):
                    self.entries[name.text].settle(value)
            case tree.Domain():
                entry.settle(self._domain_value(statement))
            case tree.Dim() | tree.Param():
                if statement.value is None:
                    raise self._missing(statement)
                value = self.number(statement.value)
                entry.settle(convert(self.site, statement, value, statement.value.span))
            case _:
                raise Poisoned

    def _missing(self, statement: tree.Dim | tree.Param | tree.Domain) -> Poisoned:
        name, title = statement.name.text, self.definition.name.text
        if self.definition.keyword == "model":
            return self.problems.fail(
                "OP0205",
                f"`{name}` of model `{title}` has no value",
                Label(statement.span, "a model leaves nothing open"),
                helps=(f"give it one here, or set it: `--set model.{name}=...`",),
            )
        return self.fail(
            "OP0205",
            f"`{title}` needs `{name}`",
            Label(self.frames[-1], f"`{name}` is not given"),
            Label(statement.span, "declared here, without a default"),
            helps=(f"add `{name} = ...`",),
        )

    def _domain_value(self, statement: tree.Domain) -> Domain:
        value = statement.value
        if value is None:
            raise self._missing(statement)
        if isinstance(value, tree.Call) and value.name in CONSTRUCTORS:
            domain = read_domain(self.domains, statement.name.text, value)
        else:
            domain = self._other_domain(statement, value)
        if statement.kind:
            check_kind(self.site, statement, domain, value.span)
        return domain

    def _other_domain(self, statement: tree.Domain, value: tree.Expr) -> Domain:
        if isinstance(value, tree.Call):
            raise self.problems.fail(
                "OP0201",
                f"unknown kind of domain `{value.name}`",
                Label(value.head, "not found"),
                notes=(f"domains are made by: {', '.join(CONSTRUCTORS)}",),
                helps=did_you_mean(value.name, CONSTRUCTORS),
            )
        return as_domain(self.site, statement, self.number(value), value.span)

    def _cycle(self, name: str) -> Poisoned:
        ring = self.busy[self.busy.index(name) :]
        labels = [
            Label(self.entries[x].name.span, f"`{x}` needs `{y}`")
            for x, y in zip(ring, [*ring[1:], ring[0]], strict=True)
        ]
        first = min(range(len(labels)), key=lambda i: labels[i].span.start)
        rotated = ring[first:] + ring[:first]
        return self.fail(
            "OP0302",
            f"the graph has a cycle: {' -> '.join([*rotated, rotated[0]])}",
            *labels[first:],
            *labels[:first],
            helps=(
                "remove one of these dependencies",
                "to feed an output back into an input over time: `feedback out -> in`",
            ),
        )

    # ------------------------------------------------------------------ constants

    def constant(self, const: NamedConstant) -> Value:
        """Return the value of a constant, evaluated once, in the file that declares it.

        Raises:
            Poisoned: it cannot be evaluated; the reason is reported.
        """
        if const.state == "new":
            self._evaluate_constant(const)
        if const.state == "busy":
            raise self._circle(const)
        if const.state == "bad" or const.value is None:
            raise Poisoned
        return const.value

    def _evaluate_constant(self, const: NamedConstant) -> None:
        statement = const.statement
        const.state = "busy"
        const.module.busy.append(const)
        try:
            with self.budget.inside(self, statement.name.span, NAME):
                const.value = file_scope(self.shared, const.module).number(statement.value)
            const.state = "done"
        except Poisoned:
            const.state = "bad"
        finally:
            const.module.busy.pop()

    def _circle(self, const: NamedConstant) -> Poisoned:
        busy = const.module.busy
        ring = [x.statement.name for x in busy[busy.index(const) :]]
        names = " -> ".join(x.text for x in [*ring, ring[0]])
        return self.problems.fail(
            "OP0211",
            f"constants need each other in a circle: {names}",
            *(
                Label(x.span, f"`{x.text}` needs `{y.text}`")
                for x, y in zip(ring, [*ring[1:], ring[0]], strict=True)
            ),
            helps=("give one of them a value of its own",),
        )


def file_scope(shared: Shared, module: Module) -> NameScope:
    """Build the scope in which constants of a file are evaluated: its constants and imports."""
    source = module.file.source
    nowhere = source.span(0, 0)
    empty = tree.Definition("block", tree.Ident("", nowhere), None, (), nowhere)
    return NameScope(shared, module, empty)


def _names(statement: tree.Statement) -> tuple[tree.Ident, ...]:
    """Return the names that a statement declares; an output is bound by another statement."""
    match statement:
        case tree.Bind():
            return statement.names
        case tree.Domain() | tree.Dim() | tree.Param() | tree.Input():
            return (statement.name,)
    return ()
