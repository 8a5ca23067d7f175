"""Expressions and chains: from the tree to values, making nodes on the way.

What comes in: an instance, an expression, and the spot in the graph where its node goes (None where
no node may be made). What goes out: a value. The outermost call of a binding takes the binding's
own path; everything inside a chain or an argument gets the path of what holds it, then its name.
"""

from __future__ import annotations

from dataclasses import dataclass

from opdsl.diagnostics import Label, Span, did_you_mean
from opdsl.elaborate import arithmetic, spaces
from opdsl.elaborate.budget import CHAIN, EXPRESSION, LEAVES, SCOPE
from opdsl.elaborate.builder import Builder
from opdsl.elaborate.instance import Given, Instance
from opdsl.elaborate.modules import providers
from opdsl.elaborate.problems import Poisoned
from opdsl.elaborate.values import Fn, Interval, Value, Word, kind
from opdsl.ir.combine_rules import count as channels
from opdsl.ir.dims import Poly
from opdsl.syntax import tree

MAX_REPEAT = 10_000
ANY_COUNT = 2  # iterations of a repeat in a definition that leaves their number open
ARITHMETIC = {"+": "add", "-": "sub", "*": "mul"}


@dataclass(frozen=True, slots=True)
class Spot:
    """Where the next node goes: at `path` itself (exact), or below it under its own name."""

    path: str
    exact: bool = False

    def claim(self, builder: Builder, name: str) -> str:
        """A free path for a node or scope called `name`."""
        if self.exact:
            return builder.path(self.path)
        return builder.path(f"{self.path}.{name}" if self.path else name)

    def below(self) -> Spot:
        """For what stands inside."""
        return Spot(self.path)


def bind(inst: Instance, statement: tree.Bind) -> tuple[Value, ...]:
    """The values of a binding, one for each of its names."""
    path = f"{inst.path}.{statement.names[0].text}" if inst.path else statement.names[0].text
    inst.budget.step(inst, statement.span, SCOPE)
    if isinstance(statement.value, tree.Pipe):
        inst.builder.scope(path, "binding", statement.names[0].text, span=statement.span)
        value = evaluate(inst, statement.value, Spot(path))
    else:
        value = evaluate(inst, statement.value, Spot(path, exact=True))
    spaces.check_annotation(inst, statement, value)
    _known_words(inst, statement, value)
    if len(statement.names) == 1:
        return (value,)
    if not isinstance(value, tuple) or len(value) != len(statement.names):
        raise inst.problems.fail(
            "OP0206",
            f"{len(statement.names)} names for "
            + (f"{len(value)} values" if isinstance(value, tuple) else "one value"),
            Label(statement.value.span, f"this is {kind(value)}"),
            frames=inst.frames,
        )
    return value


def _known_words(inst: Instance, statement: tree.Bind, value: Value) -> None:
    if not isinstance(value, Word | tuple):
        return
    from opdsl.elaborate.vocabulary import unknown_word

    for name in statement.names:
        word = unknown_word(inst, name.text, value, inst.definition)
        if word is not None:
            raise unknown(inst, word, statement.value.span)


def evaluate(inst: Instance, expr: tree.Expr, spot: Spot | None) -> Value:
    """The value of an expression.

    Raises:
        Poisoned: after a diagnostic.
    """
    inst.budget.step(inst, expr.span)
    inst.budget.enter(inst, expr.span, EXPRESSION)
    try:
        value = _value(inst, expr, spot)
    finally:
        inst.budget.frames -= EXPRESSION
    inst.budget.value(inst, value, expr.span)
    return value


def _value(inst: Instance, expr: tree.Expr, spot: Spot | None) -> Value:
    match expr:
        case tree.Literal():
            return expr.value
        case tree.Name():
            return _name(inst, expr)
        case tree.Sequence():
            below = spot.below() if spot else None
            return tuple(evaluate(inst, x, below) for x in expr.items)
        case tree.If():
            return evaluate(inst, expr.yes if _test(inst, expr.test) else expr.no, spot)
        case tree.Unary():
            return _unary(inst, expr, spot)
        case tree.Binary():
            return _binary(inst, expr, spot)
        case tree.Call():
            return _call(inst, expr, spot)
        case tree.Pipe():
            return _pipe(inst, expr, spot)
        case _:
            return _part(inst, expr, spot)


def _part(inst: Instance, expr: tree.Hole | tree.Member | tree.Index, spot: Spot | None) -> Value:
    match expr:
        case tree.Member():
            return _member(inst, expr)
        case tree.Index():
            return _index(inst, expr, spot)
        case tree.Hole():
            raise _no_hole(inst, expr)


def _no_hole(inst: Instance, expr: tree.Hole) -> Poisoned:
    return inst.problems.fail(
        "OP0107",
        "`_` stands for a function that comes through `|>`",
        Label(expr.span, "it is an argument of a call behind `|>`, without a name"),
        frames=inst.frames,
        helps=("write it as one of the functions that the call takes: `v |> sub(u, _)`",),
    )


def _member(inst: Instance, expr: tree.Member) -> Value:
    """`module.CONST`."""
    folder = inst.module.folders.get(expr.value.text) if isinstance(expr.value, tree.Name) else None
    const = folder.consts.get(expr.name.text) if folder else None
    if const is not None:
        return inst.constant(const)
    raise inst.problems.fail(
        "OP0201",
        f"unknown name `{expr.span.text}`",
        Label(expr.name.span, "not found"),
        frames=inst.frames,
        notes=("a dot leads to the constants of an imported module",),
        helps=did_you_mean(expr.name.text, list(folder.consts)) if folder else (),
    )


def _index(inst: Instance, expr: tree.Index, spot: Spot | None) -> Value:
    """An element of a tuple; of a function a channel, by its number or name, or some of them."""
    value = evaluate(inst, expr.value, spot.below() if spot else None)
    index = evaluate(inst, expr.index, None)
    if isinstance(value, Fn) and spot:
        return _channels_of(inst, expr, value, index, spot)
    if isinstance(value, tuple) and isinstance(index, int) and not isinstance(index, bool):
        if 0 <= index < len(value):
            return value[index]
        raise inst.problems.fail(
            "OP0208",
            f"there is no element {index}",
            Label(expr.index.span, f"the tuple has the elements 0 to {len(value) - 1}"),
            frames=inst.frames,
        )
    spans = (expr.value.span, expr.index.span)
    raise _no_meaning(inst, expr.span, "[ ]", (value, index), spans)


def _channels_of(inst: Instance, expr: tree.Index, value: Fn, index: Value, spot: Spot) -> Value:
    from opdsl.elaborate.calls import primitive

    given = Given(value, expr.value.span, expr.value.span)
    chosen = Given(_chosen(inst, index, expr.index.span), expr.index.span, expr.index.span)
    path = spot.claim(inst.builder, "select")
    named = {"channels": chosen}
    return primitive(inst, "select", (given,), named, expr.index.span, expr.span, path)


def _chosen(inst: Instance, index: Value, span: Span) -> Value:
    """`2..4` is the channels 2 and 3."""
    if not isinstance(index, Interval):
        return index if isinstance(index, tuple) else (index,)
    if not (index.lo.is_integer() and index.hi.is_integer()):
        return (index,)
    channels = range(int(index.lo), int(index.hi))
    # one more than a tuple may have is enough to have it refused
    chosen = tuple(channels[: LEAVES + 1])
    inst.budget.value(inst, chosen, span)
    return chosen


# ------------------------------------------------------------------------ names


def _name(inst: Instance, expr: tree.Name) -> Value:
    value = inst.lookup(expr.text)
    if value is not None:
        return value
    if expr.text in inst.module.lost:
        raise Poisoned
    # a bare word: the parameter that takes it says whether it knows it
    return Word(expr.text, expr.span)


def unknown(inst: Instance, word: Word, span: Span) -> Poisoned:
    """OP0201 for a word that had to be a name."""
    known = [x for x in inst.entries if x != word.text]
    return inst.problems.fail(
        "OP0201",
        f"unknown name `{word.text}`",
        Label(word.span or span, "not found"),
        frames=inst.frames,
        helps=did_you_mean(word.text, known),
    )


def _test(inst: Instance, expr: tree.Expr) -> bool:
    value = evaluate(inst, expr, None)
    if isinstance(value, bool):
        return value
    if isinstance(value, Word):
        raise unknown(inst, value, expr.span)
    raise inst.problems.fail(
        "OP0209",
        "a condition is true or false",
        Label(expr.span, f"this is {kind(value)}"),
        frames=inst.frames,
    )


# -------------------------------------------------------------------- operators


def _unary(inst: Instance, expr: tree.Unary, spot: Spot | None) -> Value:
    if expr.sign == "not":
        return not _test(inst, expr.value)
    value = evaluate(inst, expr.value, spot.below() if spot else None)
    if expr.sign == "+":
        return value
    if isinstance(value, Fn) and spot:
        given = Given(value, expr.value.span, expr.value.span)
        return _scaled(inst, expr.span, given, -1.0, spot.claim(inst.builder, "scale"))
    made = arithmetic.negative(value)
    if made is None:
        raise _no_meaning(inst, expr.sign_span, expr.sign, (value,), (expr.value.span,))
    return made


def _binary(inst: Instance, expr: tree.Binary, spot: Spot | None) -> Value:
    if expr.sign in ("and", "or"):
        first = _test(inst, expr.left)
        settled = first if expr.sign == "or" else not first
        return first if settled else _test(inst, expr.right)
    path = spot.claim(inst.builder, ARITHMETIC.get(expr.sign, "scale")) if spot else None
    below = Spot(path) if path else None
    left = evaluate(inst, expr.left, below)
    right = evaluate(inst, expr.right, below)
    if path and (isinstance(left, Fn) or isinstance(right, Fn)):
        return _functions(inst, expr, left, right, path)
    if path:
        inst.builder.release(path)  # it is a number after all
    made = arithmetic.binary(expr.sign, left, right)
    if made is None:
        raise _no_meaning(
            inst, expr.sign_span, expr.sign, (left, right), (expr.left.span, expr.right.span)
        )
    return made


def _functions(inst: Instance, expr: tree.Binary, left: Value, right: Value, path: str) -> Value:
    from opdsl.elaborate.calls import primitive

    a = Given(left, expr.left.span, expr.sign_span)
    b = Given(right, expr.right.span, expr.sign_span)
    if isinstance(left, Fn) and isinstance(right, Fn) and expr.sign in ARITHMETIC:
        keyword = ARITHMETIC[expr.sign]
        return primitive(inst, keyword, (a, b), {}, expr.sign_span, expr.span, path)
    if isinstance(left, Fn) and _number(right) and expr.sign == "*":
        return _scaled(inst, expr.span, a, _number(right), path)
    if isinstance(right, Fn) and _number(left) and expr.sign == "*":
        return _scaled(inst, expr.span, b, _number(left), path)
    if isinstance(left, Fn) and _number(right) and expr.sign == "/":
        return _scaled(inst, expr.span, a, 1 / _number(right), path)
    raise _no_meaning(
        inst, expr.sign_span, expr.sign, (left, right), (expr.left.span, expr.right.span)
    )


def _number(value: Value) -> float:
    """The number, or 0 for what is none (or nothing to divide or multiply by)."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def _scaled(inst: Instance, span: Span, given: Given, factor: float, path: str) -> Value:
    from opdsl.elaborate.calls import primitive

    number = Given(factor, span, span)
    return primitive(inst, "scale", (given,), {"factor": number}, span, span, path)


def _no_meaning(
    inst: Instance, span: Span, sign: str, values: tuple[Value, ...], spans: tuple[Span, ...]
) -> Poisoned:
    for value, where in zip(values, spans, strict=True):
        if isinstance(value, Word):
            return unknown(inst, value, where)
    if sign in "/%" and values[-1] == 0:
        return inst.problems.fail(
            "OP0209",
            "a division by zero",
            Label(spans[-1], "this is zero"),
            frames=inst.frames,
        )
    labels = [Label(s, f"this is {kind(v)}") for s, v in zip(spans, values, strict=True)]
    return inst.problems.fail(
        "OP0209",
        f"`{sign}` has no meaning here",
        Label(span, "not defined for these values"),
        *labels,
        frames=inst.frames,
    )


# ------------------------------------------------------------------------ calls


def _call(inst: Instance, expr: tree.Call, spot: Spot | None) -> Value:
    from opdsl.elaborate.calls import call

    if expr.name in arithmetic.FUNCTIONS:
        return _function(inst, expr)
    if spot is None:
        raise inst.problems.fail(
            "OP0209",
            "a number or a word is needed here, not a function",
            Label(expr.span, "this makes a node of the graph"),
            frames=inst.frames,
        )
    return call(inst, expr, None, spot)


def _function(inst: Instance, expr: tree.Call) -> Value:
    values = [evaluate(inst, x.value, None) for x in expr.args]
    for arg, value in zip(expr.args, values, strict=True):
        if isinstance(value, Word):
            raise unknown(inst, value, arg.span)
    numbers = [x for x in values if isinstance(x, Poly) or arithmetic.is_number(x)]
    if len(numbers) < len(values) or any(x.name for x in expr.args):
        raise _takes_numbers(inst, expr)
    try:
        return arithmetic.function(expr.name, numbers)
    except (TypeError, ValueError, OverflowError) as error:
        raise _takes_numbers(inst, expr) from error


def _takes_numbers(inst: Instance, expr: tree.Call) -> Poisoned:
    named = next((x for x in expr.args if x.name), None)
    return inst.problems.fail(
        "OP0209",
        f"`{expr.name}` takes numbers",
        Label(expr.span, "these do not fit"),
        frames=inst.frames,
        helps=(f"leave out the names: `{expr.name}({named.value.span.text})`",) if named else (),
    )


def unknown_operator(inst: Instance, expr: tree.Call, known: list[str]) -> Poisoned:
    """OP0201 for a block that nobody defines; says where to import it from."""
    if expr.name in inst.module.lost:
        return Poisoned()
    found = providers(expr.name)
    helps = did_you_mean(expr.name, known)
    if found:
        helps = (f"import it: `from {found[0]} import {expr.name}`",)
    return inst.problems.fail(
        "OP0201",
        f"unknown operator `{expr.name}`",
        Label(expr.head, "not found"),
        frames=inst.frames,
        helps=helps,
    )


# ----------------------------------------------------------------------- chains


def _pipe(inst: Instance, expr: tree.Pipe, spot: Spot | None) -> Value:
    if spot is None:
        raise inst.problems.fail(
            "OP0209",
            "a number or a word is needed here, not a chain",
            Label(expr.span, "this makes nodes of the graph"),
            frames=inst.frames,
        )
    value = evaluate(inst, expr.head, spot.below())
    return _chain(inst, expr.stages, value, expr.head.span, spot.below())


def _chain(
    inst: Instance, stages: tuple[tree.Stage, ...], value: Value, span: Span, spot: Spot
) -> Value:
    for stage in stages:
        inst.budget.step(inst, stage.span)
        value = _stage(inst, stage, _piped(inst, value, span), span, spot)
        span = stage.span
    return value


def _piped(inst: Instance, value: Value, span: Span) -> Fn:
    if isinstance(value, Fn):
        return value
    if isinstance(value, Word):
        raise unknown(inst, value, span)
    raise inst.problems.fail(
        "OP0209",
        "only a function goes through `|>`",
        Label(span, f"this is {kind(value)}"),
        frames=inst.frames,
    )


def _stage(inst: Instance, stage: tree.Stage, value: Fn, span: Span, spot: Spot) -> Value:
    from opdsl.elaborate.calls import call

    match stage:
        case tree.Call():
            return call(inst, stage, Given(value, span, span), spot)
        case tree.Repeat():
            return _repeat(inst, stage, value, span, spot)
        case tree.Residual():
            return _residual(inst, stage, value, span, spot)


def _repeat(inst: Instance, stage: tree.Repeat, enters: Fn, span: Span, spot: Spot) -> Value:
    count = _count(inst, stage)
    path = spot.claim(inst.builder, "repeat")
    title = "repeat shared" if stage.shared else "repeat"
    inst.builder.scope(path, "repeat", title, span=stage.span, count=count, shared=stage.shared)
    value: Value = enters
    saved = dict(inst.locals)
    begin = len(inst.builder.nodes)
    with inst.budget.inside(inst, stage.head, CHAIN):
        for i in range(count):
            inst.budget.step(inst, stage.head, SCOPE)
            if stage.index:
                inst.locals = saved | {stage.index.text: i}
            where = f"{path}.{i}"
            inst.builder.scope(where, "iteration", str(i), span=stage.span, shared=stage.shared)
            value = _chain(inst, stage.body.stages, value, span, Spot(where))
            span = stage.span
            if stage.shared:
                _endomorphism(inst, stage, enters, value)
    inst.locals = saved
    if stage.shared:
        _share(inst, stage, path, begin)
    return value


def _endomorphism(inst: Instance, stage: tree.Repeat, enters: Fn, leaves: Value) -> None:
    """OP0306: what the same weights are applied to again must be of the same space."""
    last = stage.body.stages[-1].span
    a, b = enters.space, _piped(inst, leaves, last).space
    if (a.domain, a.channels, a.field) == (b.domain, b.channels, b.field):
        return
    raise inst.problems.fail(
        "OP0306",
        "a repeat with shared weights must end in the space in which it begins",
        Label(stage.head, f"`{a}` comes in"),
        Label(last, f"leaves as `{b}`"),
        frames=inst.frames,
        notes=("the same weights take the result of the iteration before",),
        helps=(f"end the chain with `linear(out = {a.channels})`",)
        if a.domain == b.domain and a.channels != b.channels
        else ("leave out `shared`: each iteration gets its own weights",),
    )


def _share(inst: Instance, stage: tree.Repeat, path: str, begin: int) -> None:
    """Give the nodes of later iterations the weights of the first one."""
    differs = inst.builder.share(path, begin)
    if differs is None:
        return
    raise inst.problems.fail(
        "OP0306",
        "a repeat with shared weights must do the same in each iteration",
        Label(stage.head, f"`{differs}` is another operation later"),
        frames=inst.frames,
        helps=(f"do not use `{stage.index.text}` inside",) if stage.index else (),
    )


def _count(inst: Instance, stage: tree.Repeat) -> int:
    value = evaluate(inst, stage.count, None)
    if isinstance(value, Word):
        raise unknown(inst, value, stage.count.span)
    if isinstance(value, Poly):
        return ANY_COUNT
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_REPEAT:
        return value
    raise inst.problems.fail(
        "OP0208",
        f"a repeat takes a whole number from 0 to {MAX_REPEAT}",
        Label(stage.count.span, f"this is {kind(value)}"),
        frames=inst.frames,
    )


def _residual(inst: Instance, stage: tree.Residual, value: Fn, span: Span, spot: Spot) -> Value:
    from opdsl.elaborate.calls import primitive

    path = spot.claim(inst.builder, "residual")
    inst.budget.step(inst, stage.head, SCOPE)
    inst.builder.scope(path, "residual", "residual", span=stage.span)
    with inst.budget.inside(inst, stage.head, CHAIN):
        result = _chain(inst, stage.body.stages, value, span, Spot(path))
    last = stage.body.stages[-1].span
    branch = _piped(inst, result, last)
    _same(inst, stage, value, branch, last)
    pair = (Given(value, stage.head, stage.head), Given(branch, last, last))
    where = inst.builder.path(f"{path}.add")
    return primitive(inst, "add", pair, {}, stage.head, stage.span, where)


def _same(inst: Instance, stage: tree.Residual, enters: Fn, leaves: Fn, last: Span) -> None:
    a, b = enters.space, leaves.space
    labels = (Label(stage.head, f"enters as `{a}`"), Label(last, f"leaves as `{b}`"))
    if a.domain != b.domain:
        raise inst.problems.fail(
            "OP0304",
            f"`residual` adds functions on different domains: `{a.domain}` and `{b.domain}`",
            *labels,
            frames=inst.frames,
            helps=(f"end the branch with `resample(to = {a.domain})`",)
            if a.domain.name == b.domain.name
            else (),
        )
    if a.field != b.field:
        raise inst.problems.fail(
            "OP0312",
            "`residual` adds real and complex functions",
            *labels,
            frames=inst.frames,
        )
    if a.channels != b.channels:
        raise inst.problems.fail(
            "OP0303",
            f"`residual` adds its input ({channels(a.channels)}) to its result "
            f"({channels(b.channels)})",
            *labels,
            frames=inst.frames,
            helps=(f"end the branch with `linear(out = {a.channels})`",),
        )
