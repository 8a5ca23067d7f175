"""One definition with its parameters: a model, or a block where it is called.

What comes in: the definition and the values given to it. What goes out: the functions its outputs
stand for; nodes go to the builder on the way. A name is evaluated when it is first asked for, so
statements stand in any order; a name asked for while it is being evaluated is a cycle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from opdsl.diagnostics import Label, Span, did_you_mean
from opdsl.elaborate import spaces
from opdsl.elaborate.arithmetic import is_count
from opdsl.elaborate.budget import NAME, Budget
from opdsl.elaborate.builder import Builder
from opdsl.elaborate.domains import CONSTRUCTORS, DomainReader
from opdsl.elaborate.modules import Constant, Module
from opdsl.elaborate.params import describe, fit, words
from opdsl.elaborate.problems import Poisoned, Problems
from opdsl.elaborate.values import Fn, Value, Word, kind, show
from opdsl.ir.dims import Undecided
from opdsl.ir.spaces import BOUNDS, Domain
from opdsl.syntax import tree

T = TypeVar("T", bound=tree.Statement)


@dataclass(frozen=True, slots=True)
class Given:
    """A value that a caller gives, with the places of the value and of its name."""

    value: Value
    span: Span
    key: Span


@dataclass(slots=True)
class Shared:
    """What all instances of one elaboration share.

    Attributes:
        symbolic: a definition is checked for all sizes; what depends on them is left open.
        budget: what the evaluation of the whole program may still cost.
    """

    problems: Problems
    builder: Builder
    budget: Budget
    places: dict[str, Span] = field(default_factory=dict)
    symbolic: bool = False


@dataclass(slots=True)
class Entry:
    """A declared name and what became of it."""

    statement: tree.Statement
    name: tree.Ident
    state: Literal["new", "busy", "done", "bad"] = "new"
    value: Value | None = None

    def settle(self, value: Value) -> None:
        """The value is known."""
        self.state, self.value = "done", value


class Instance:
    """A definition being evaluated.

    Attributes:
        path: prefix of the nodes it makes; empty for the model.
        frames: the calls that lead here, the user's first.
        locals: indices of the repeats around the expression in hand.
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
        self.builder = shared.builder
        self.budget = shared.budget
        self.module = module
        self.definition = definition
        self.path = path
        self.frames = frames
        self.above = (*above, definition)
        self.busy: list[str] = []
        self.locals: dict[str, Value] = {}
        self.domains = DomainReader(self.problems, self.number, shared.places)
        self.entries = self._declare()

    # ------------------------------------------------------------- declarations

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

    def statements(self, kind: type[T]) -> Iterator[T]:
        """The statements of one kind, in order."""
        return (x for x in self.definition.body if isinstance(x, kind))

    @property
    def inputs(self) -> tuple[tree.Input, ...]:
        """The declared inputs."""
        return tuple(self.statements(tree.Input))

    def parameters(self) -> tuple[str, ...]:
        """What a caller may give by name: domains, dims, params."""
        return tuple(
            x.name.text
            for x in self.definition.body
            if isinstance(x, tree.Dim | tree.Param) or (isinstance(x, tree.Domain) and x.kind)
        )

    # -------------------------------------------------------------- given values

    def give(self, named: Mapping[str, Given]) -> None:
        """Set domains, dims and params from a call.

        Raises:
            Poisoned: after a diagnostic for every name that does not fit.
        """
        faults = [x for key, given in named.items() if (x := self._give(key, given))]
        if faults:
            raise faults[0]

    def _give(self, key: str, given: Given) -> Poisoned | None:
        known = self.parameters()
        if key not in known:
            return self.problems.fail(
                "OP0207",
                f"{self._called()} has no parameter `{key}`",
                Label(given.key, "unknown parameter"),
                frames=self.frames[:-1],
                notes=self._takes(),
                helps=did_you_mean(key, known),
            )
        entry = self.entries[key]
        try:
            entry.settle(self._accept(entry.statement, given))
        except Poisoned as poisoned:
            return poisoned
        return None

    def _takes(self) -> tuple[str, ...]:
        """What a call can say, without what the inputs say already."""
        read = {x for statement in self.inputs for x in _open_names(statement.type)}
        left = [x for x in self.parameters() if x not in read]
        return (f"`{self.definition.name.text}` takes: {', '.join(left)}",) if left else ()

    def _called(self) -> str:
        model = self.definition.keyword == "model"
        return f"model `{self.definition.name.text}`" if model else f"`{self.definition.name.text}`"

    def _accept(self, statement: tree.Statement, given: Given) -> Value:
        match statement:
            case tree.Param():
                return self._param(statement, given.value, given.span)
            case tree.Dim():
                return self._dim(statement, given.value, given.span)
            case tree.Domain():
                return self.as_domain(statement, given.value, given.span)
        raise TypeError(statement)  # `parameters` names no other statements

    def _param(self, statement: tree.Param, value: Value, span: Span) -> Value:
        made = fit(value, statement.type)
        if made is not None:
            return made
        near = did_you_mean(show(value), words(statement.type)) if isinstance(value, Word) else ()
        raise self.problems.fail(
            "OP0208",
            f"`{statement.name.text}` of `{self.definition.name.text}` cannot be {kind(value)}",
            Label(span, f"expected {describe(statement.type)}"),
            Label(statement.span, "declared here"),
            frames=self.frames,
            helps=near,
        )

    def _dim(self, statement: tree.Dim, value: Value, span: Span) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if is_count(value) and value >= 1:
            return value
        raise self.problems.fail(
            "OP0208",
            f"`{statement.name.text}` of `{self.definition.name.text}` is a number of channels",
            Label(span, f"this is {kind(value)}"),
            frames=self.frames,
            helps=("round it: `int(...)`",) if isinstance(value, float) else (),
        )

    def as_domain(self, statement: tree.Domain, value: Value, span: Span) -> Domain:
        """The value of a domain variable, of the declared kind.

        Raises:
            Poisoned: it is not.
        """
        if not isinstance(value, Domain):
            raise self.problems.fail(
                "OP0209",
                f"`{statement.name.text}` of `{self.definition.name.text}` is a domain",
                Label(span, f"this is {kind(value)}"),
                frames=self.frames,
            )
        self._of_kind(statement, value, span)
        return value

    def _of_kind(self, statement: tree.Domain, domain: Domain, span: Span) -> None:
        bound = statement.kind.name.text if statement.kind else "any"
        if bound not in BOUNDS:
            raise self.problems.fail(
                "OP0201",
                f"unknown kind of domain `{bound}`",
                Label(statement.kind.name.span if statement.kind else span, "not found"),
                notes=(f"kinds of domain: {', '.join(BOUNDS)}",),
                helps=did_you_mean(bound, BOUNDS),
            )
        if not domain.satisfies(bound):
            raise spaces.wrong_kind(self, self.definition.name.text, domain, (bound,), span)

    # ------------------------------------------------------------------- inputs

    def take(self, values: tuple[Given, ...], call: Span) -> None:
        """Bind the inputs and, from their spaces, the domains and dims that are still open.

        Raises:
            Poisoned: they do not fit.
        """
        if len(values) != len(self.inputs):
            raise self._wrong_count(len(values), call)
        for statement, given in zip(self.inputs, values, strict=True):
            if not isinstance(given.value, Fn):
                raise self.problems.fail(
                    "OP0209",
                    f"the input `{statement.name.text}` of `{self.definition.name.text}` "
                    "is a function",
                    Label(given.span, f"this is {kind(given.value)}"),
                    frames=self.frames,
                )
            spaces.unify(self, statement, given.value.space, given.span)
            self.entries[statement.name.text].settle(given.value)

    def _wrong_count(self, count: int, call: Span) -> Poisoned:
        names = ", ".join(x.name.text for x in self.inputs)
        return self.problems.fail(
            "OP0206",
            f"`{self.definition.name.text}` takes {_inputs(len(self.inputs))}, not {count}",
            Label(call, f"{count} given"),
            Label(self.definition.name.span, f"its inputs: {names or 'none'}"),
            frames=self.frames,
            helps=("parameters are given by name: `width = 64`",) if count else (),
        )

    # -------------------------------------------------------------------- names

    def lookup(self, name: str) -> Value | None:
        """The value of a name, evaluated now if need be; None if nobody declares it.

        Raises:
            Poisoned: it cannot be evaluated; the reason is reported.
        """
        if name in self.locals:
            return self.locals[name]
        entry = self.entries.get(name)
        if entry is None:
            return self._const(name)
        if entry.state == "new":
            self._evaluate(entry)
        if entry.state == "busy":
            raise self._cycle(name)
        if entry.state == "bad" or entry.value is None:
            raise Poisoned
        return entry.value

    def _const(self, name: str) -> Value | None:
        const = self.module.consts.get(name)
        return self.constant(const) if const else None

    def constant(self, const: Constant) -> Value:
        """The value of a constant, evaluated once, in the file that declares it.

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

    def _evaluate_constant(self, const: Constant) -> None:
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

    def _circle(self, const: Constant) -> Poisoned:
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

    def _evaluate(self, entry: Entry) -> None:
        entry.state = "busy"
        self.busy.append(entry.name.text)
        # indices of a repeat are not seen by other statements
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
                self._bind(statement)
            case tree.Domain():
                entry.settle(self._domain_value(statement))
            case tree.Dim() | tree.Param():
                entry.settle(self._default(statement))
            case _:
                raise Poisoned

    def _default(self, statement: tree.Dim | tree.Param) -> Value:
        if statement.value is None:
            raise self._missing(statement)
        value = self.number(statement.value)
        if isinstance(statement, tree.Dim):
            return self._dim(statement, value, statement.value.span)
        return self._param(statement, value, statement.value.span)

    def _missing(self, statement: tree.Dim | tree.Param | tree.Domain) -> Poisoned:
        name = statement.name.text
        if self.definition.keyword == "model":
            return self.problems.fail(
                "OP0205",
                f"`{name}` of model `{self.definition.name.text}` has no value",
                Label(statement.span, "a model leaves nothing open"),
                helps=(f"give it one here, or set it: `--set model.{name}=...`",),
            )
        return self.problems.fail(
            "OP0205",
            f"`{self.definition.name.text}` needs `{name}`",
            Label(self.frames[-1], f"`{name}` is not given"),
            Label(statement.span, "declared here, without a default"),
            frames=self.frames,
            helps=(f"add `{name} = ...`",),
        )

    def _domain_value(self, statement: tree.Domain) -> Domain:
        value = statement.value
        if value is None:
            raise self._missing(statement)
        if isinstance(value, tree.Call) and value.name in CONSTRUCTORS:
            domain = self.domains.read(statement.name.text, value)
        else:
            domain = self._other_domain(statement, value)
        if statement.kind:
            self._of_kind(statement, domain, value.span)
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
        return self.as_domain(statement, self.number(value), value.span)

    def _bind(self, statement: tree.Bind) -> None:
        from opdsl.elaborate.expressions import bind

        values = bind(self, statement)
        for name, value in zip(statement.names, values, strict=True):
            self.entries[name.text].settle(value)

    def number(self, expr: tree.Expr) -> Value:
        """The value of an expression that makes no node of the graph."""
        from opdsl.elaborate.expressions import evaluate

        return evaluate(self, expr, None)

    # ------------------------------------------------------------------ running

    def run(self) -> tuple[Fn, ...]:
        """Evaluate everything; the values of the outputs.

        Raises:
            Poisoned: an output cannot be made.
        """
        self._require()
        for entry in list(self.entries.values()):
            if entry.state == "new":
                self._evaluate(entry)
        return tuple(self._output(x) for x in self.statements(tree.Output))

    def _require(self) -> None:
        for statement in self.statements(tree.Require):
            try:
                met = self.number(statement.test)
            except Undecided:
                continue
            if met is not True:
                raise self._not_met(statement)

    def _not_met(self, statement: tree.Require) -> Poisoned:
        text = statement.doc.text if statement.doc else f"`{statement.test.span.text}` is not true"
        site = self.frames[-1] if self.frames else statement.test.span
        labels = [Label(site)] if self.frames else []
        with_ = [f"{x} = {show(v)}" for x in _mentioned(statement.test) if (v := self.lookup(x))]
        return self.problems.fail(
            "OP0320",
            text,
            *labels,
            Label(statement.test.span, "required here"),
            frames=self.frames,
            notes=(f"with {', '.join(with_)}",) if with_ else (),
        )

    def _output(self, statement: tree.Output) -> Fn:
        name = statement.name.text
        if name not in self.entries:
            raise self._never_computed(statement)
        value = self.lookup(name)
        if not isinstance(value, Fn):
            raise self.problems.fail(
                "OP0209",
                f"output `{name}` is not a function",
                Label(self.entries[name].name.span, f"this is {kind(value)}" if value else ""),
                frames=self.frames,
            )
        return Fn(value.ref, spaces.check_output(self, statement, value))

    def binding(self, name: str) -> tree.Bind | None:
        """The statement that binds a name."""
        return next((x for x in self.statements(tree.Bind) if _has(x, name)), None)

    def _never_computed(self, statement: tree.Output) -> Poisoned:
        name = statement.name.text
        if name in self.module.lost:
            return Poisoned()
        bound = [y.text for x in self.statements(tree.Bind) for y in x.names]
        return self.problems.fail(
            "OP0204",
            f"output `{name}` is never computed",
            Label(statement.name.span, "declared here, but no node has this name"),
            frames=self.frames,
            helps=did_you_mean(name, bound, what="the node ") or (f"bind it: `{name} = ...`",),
        )

    def _cycle(self, name: str) -> Poisoned:
        ring = self.busy[self.busy.index(name) :]
        labels = [
            Label(self.entries[x].name.span, f"`{x}` needs `{y}`")
            for x, y in zip(ring, [*ring[1:], ring[0]], strict=True)
        ]
        first = min(range(len(labels)), key=lambda i: labels[i].span.start)
        turned = ring[first:] + ring[:first]
        return self.problems.fail(
            "OP0302",
            f"the graph has a cycle: {' -> '.join([*turned, turned[0]])}",
            *labels[first:],
            *labels[:first],
            frames=self.frames,
            helps=(
                "let one of them do without the other",
                "to feed an output back into an input over time: `feedback out -> in`",
            ),
        )


def file_scope(shared: Shared, module: Module) -> Instance:
    """The names that constants of a file see: its other constants and what it imports."""
    source = module.file.source
    nowhere = source.span(0, 0)
    empty = tree.Definition("block", tree.Ident("", nowhere), None, (), nowhere)
    return Instance(shared, module, empty)


def _names(statement: tree.Statement) -> tuple[tree.Ident, ...]:
    """What a statement binds; an output is bound elsewhere."""
    match statement:
        case tree.Bind():
            return statement.names
        case tree.Domain() | tree.Dim() | tree.Param() | tree.Input():
            return (statement.name,)
    return ()


def _open_names(type_: tree.TypeExpr) -> list[str]:
    parts = (type_.domain, type_.codomain.channels)
    return [x.text for x in parts if isinstance(x, tree.Name)]


def _has(statement: tree.Bind, name: str) -> bool:
    return any(x.text == name for x in statement.names)


def _inputs(count: int) -> str:
    return f"{count} input" + ("" if count == 1 else "s")


def _mentioned(expr: tree.Expr) -> list[str]:
    match expr:
        case tree.Name():
            return [expr.text]
        case tree.Binary():
            return _mentioned(expr.left) + _mentioned(expr.right)
        case tree.Unary():
            return _mentioned(expr.value)
        case tree.Call():
            return [x for arg in expr.args for x in _mentioned(arg.value)]
    return []
