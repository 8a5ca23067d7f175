"""Calls of blocks: those written in the language and those written in Python.

What comes in: a call, what the pipe brings, the spot in the graph. What goes out: the function that
the call stands for. A block's `Refusal` becomes a diagnostic here, with its places.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from opdsl import blocks
from opdsl.diagnostics import Label, Span, did_you_mean
from opdsl.elaborate import spaces
from opdsl.elaborate.budget import CALL, SCOPE
from opdsl.elaborate.domains import CONSTRUCTORS
from opdsl.elaborate.expressions import Spot, evaluate, unknown, unknown_operator
from opdsl.elaborate.instance import Given, Instance
from opdsl.elaborate.modules import Module
from opdsl.elaborate.params import activations
from opdsl.elaborate.problems import Poisoned
from opdsl.elaborate.values import Fn, Value, Word, kind, show
from opdsl.ir.block import Block, Refusal, literal_words
from opdsl.ir.dims import Poly, Undecided
from opdsl.ir.spaces import Space
from opdsl.syntax import tree

DIVISIBLE = 5040  # by all numbers to 10
PRIMES = (1, 11, 13, 17, 19, 23)


def call(inst: Instance, expr: tree.Call, piped: Given | None, spot: Spot) -> Value:
    """What the call stands for.

    Raises:
        Poisoned: after a diagnostic.
    """
    found = _definition(inst, expr)
    if found is not None:
        return _block(inst, expr, found, piped, spot)
    name = expr.name
    if name in activations() and blocks.find(name) is None:
        return _activation(inst, expr, piped, spot)
    if name in CONSTRUCTORS:
        raise inst.problems.fail(
            "OP0209",
            "a domain is declared by a statement of its own",
            Label(expr.span, "not here"),
            frames=inst.frames,
            helps=(f"write `domain D = {name}(...)`",),
        )
    if blocks.find(name) is None:
        raise unknown_operator(inst, expr, _known(inst))
    path = spot.claim(inst.builder, name)
    values, named = _arguments(inst, expr, piped, path)
    return primitive(inst, name, values, named, expr.head, expr.span, path)


def primitive(
    inst: Instance,
    keyword: str,
    values: tuple[Given, ...],
    named: Mapping[str, Given],
    head: Span,
    span: Span,
    path: str,
) -> Value:
    """The node `path` for a block written in Python.

    Args:
        values: what is given without a name: functions, then other values.
        head: where the keyword or sign stands.
        span: the whole call.
    """
    cls = blocks.find(keyword)
    assert cls is not None
    functions = tuple(x for x in values if isinstance(x.value, Fn))
    others = tuple(x for x in values if not isinstance(x.value, Fn))
    named = _positional(inst, cls, others, named, span)
    _count(inst, cls, functions, span)
    fns = tuple(x.value for x in functions if isinstance(x.value, Fn))
    for fn in fns:
        _kind(inst, cls, fn, span)
    block = _make(inst, cls, named, span)
    try:
        space = _inferred(block, tuple(x.space for x in fns))
    except Refusal as refusal:
        raise _refused(inst, refusal, functions, named, (head, span)) from refusal
    if block.is_identity(*(x.space for x in fns)):
        return fns[0]
    inst.budget.node(inst, span)
    return inst.builder.node(path, block, fns, space, (*inst.frames, span))


def _inferred(block: Block, x: tuple[Space, ...]) -> Space:
    """The space of the result; in a definition for all sizes if that can be said."""
    try:
        return block.infer(*x)
    except Undecided:
        return _tried(block, x)


def _tried(block: Block, x: tuple[Space, ...]) -> Space:
    """The result where every size is a number with many divisors, told in the sizes again.

    Raises:
        Undecided: the result's channels are none of those that come in.
    """
    atoms = sorted({y for z in x for y in Poly.of(z.channels).atoms()})
    sizes = {name: DIVISIBLE * PRIMES[i % len(PRIMES)] for i, name in enumerate(atoms)}
    tried = {int(Poly.of(z.channels).at(sizes)): z.channels for z in x}
    met = block.infer(
        *(z.model_copy(update={"channels": int(Poly.of(z.channels).at(sizes))}) for z in x)
    )
    if met.channels not in tried:
        raise Undecided
    return met.model_copy(update={"channels": tried[met.channels]})


# --------------------------------------------------------------------- arguments


def _arguments(
    inst: Instance, expr: tree.Call, piped: Given | None, path: str
) -> tuple[tuple[Given, ...], dict[str, Given]]:
    """What is given without and with a name, evaluated; nodes inside go below `path`."""
    holes = [x for x in expr.args if x.name is None and isinstance(x.value, tree.Hole)]
    values = [piped] if piped and not holes else []
    named: dict[str, Given] = {}
    for arg in expr.args:
        if piped and holes and arg is holes[0]:
            values.append(piped)
            continue
        if arg.sign == ":":
            raise inst.problems.fail(
                "OP0208",
                "a parameter is given with `=`",
                Label(arg.span, "`:` declares an axis of a grid"),
                frames=inst.frames,
            )
        key = arg.name.span if arg.name else arg.span
        given = Given(evaluate(inst, arg.value, Spot(path)), arg.value.span, key)
        if arg.name is None:
            values.append(given)
        elif arg.name.text in named:
            raise inst.problems.fail(
                "OP0203",
                f"`{arg.name.text}` is given twice",
                Label(arg.name.span, "again here"),
                Label(named[arg.name.text].key, "first here"),
                frames=inst.frames,
            )
        else:
            named[arg.name.text] = given
    return tuple(values), named


def _activation(inst: Instance, expr: tree.Call, piped: Given | None, spot: Spot) -> Value:
    """`gelu()` is `apply(gelu)`."""
    path = spot.claim(inst.builder, expr.name)
    values, named = _arguments(inst, expr, piped, path)
    word = {"kind": Given(Word(expr.name), expr.head, expr.head)}
    return primitive(inst, "apply", values, {**named, **word}, expr.head, expr.span, path)


# ---------------------------------------------------------- blocks of the language


def _definition(inst: Instance, expr: tree.Call) -> tuple[Module, tree.Definition] | None:
    if len(expr.path) == 1:
        found = inst.module.definitions.get(expr.name)
    else:
        folder = inst.module.folders.get(expr.path[0].text)
        found = folder.definitions.get(expr.path[1].text) if folder else None
    return found if found and found[1].keyword == "block" else None


def _block(
    inst: Instance,
    expr: tree.Call,
    found: tuple[Module, tree.Definition],
    piped: Given | None,
    spot: Spot,
) -> Value:
    module, definition = found
    if definition in inst.above:
        raise inst.problems.fail(
            "OP0211",
            f"`{definition.name.text}` calls itself",
            Label(expr.head, "called again here"),
            Label(definition.name.span, "inside of this block"),
            helps=("use `repeat`, whose count is known before run time",),
        )
    path = spot.claim(inst.builder, snake(definition.name.text))
    values, named = _arguments(inst, expr, piped, path)
    inst.budget.step(inst, expr.span, SCOPE + len(definition.body))
    inst.builder.scope(path, "block", definition.name.text, span=expr.span)
    child = Instance(
        inst.shared,
        module,
        definition,
        path=path,
        frames=(*inst.frames, expr.span),
        above=inst.above,
    )
    child.give(named)
    child.take(values, expr.span)
    with inst.budget.inside(inst, expr.head, CALL):
        outputs = child.run()
    return outputs[0] if len(outputs) == 1 else outputs


def snake(name: str) -> str:
    """`FourierLayer` is `fourier_layer` in a path."""
    import re

    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


# ------------------------------------------------------------- blocks in Python


def _known(inst: Instance) -> list[str]:
    own = [k for k, (_, d) in inst.module.definitions.items() if d.keyword == "block"]
    return [*own, *blocks.names(), *activations()]


def _positional(
    inst: Instance,
    cls: type[Block],
    others: tuple[Given, ...],
    named: Mapping[str, Given],
    span: Span,
) -> dict[str, Given]:
    """The named values, with those given by position under their names."""
    for given in others:
        if isinstance(given.value, Word) and not cls.positional:
            raise unknown(inst, given.value, given.span)
    free = [x for x in cls.positional if x not in named]
    if len(others) > len(free):
        extra = others[len(free)]
        raise inst.problems.fail(
            "OP0206",
            f"`{cls.keyword()}` takes functions here",
            Label(extra.span, f"this is {kind(extra.value)}"),
            frames=(*inst.frames, span),
            notes=(f"`{cls.keyword()}` takes: {', '.join(cls.model_fields)}",)
            if cls.model_fields
            else (),
            helps=("parameters are given by name",),
        )
    return {**dict(zip(free, others, strict=False)), **named}


def _count(inst: Instance, cls: type[Block], functions: tuple[Given, ...], span: Span) -> None:
    low, high = cls.arity
    if low <= len(functions) and (high is None or len(functions) <= high):
        return
    wanted = f"{low}" if high == low else (f"{low} or more" if high is None else f"{low} to {high}")
    raise inst.problems.fail(
        "OP0206",
        f"`{cls.keyword()}` takes {wanted} input{'' if wanted == '1' else 's'}, "
        f"not {len(functions)}",
        Label(span, f"{len(functions)} given"),
        frames=inst.frames,
        helps=("put a function in: `v |> " + cls.keyword() + "(...)`",) if not functions else (),
    )


def _kind(inst: Instance, cls: type[Block], fn: Fn, span: Span) -> None:
    domain = fn.space.domain
    if fn.space.complex and not cls.complex:
        raise inst.problems.fail(
            "OP0312",
            f"`{cls.keyword()}` is defined on real functions only",
            Label(span, f"got `{fn.space}`"),
            frames=inst.frames,
            helps=(spaces.REAL_PARTS,),
        )
    if cls.kinds and not any(domain.satisfies(x) for x in cls.kinds):
        raise spaces.wrong_kind(inst, cls.keyword(), domain, cls.kinds, span, str(fn.space))


def _make(inst: Instance, cls: type[Block], named: Mapping[str, Given], span: Span) -> Block:
    """The block with its parameters, checked by pydantic."""
    plain = {key: _plain(inst, cls, key, given) for key, given in named.items()}
    try:
        return cls(**plain)
    except ValidationError as error:
        wrong = {str(x["loc"][0]) for x in error.errors() if x["loc"]}
        open_ = {x for x in wrong if _open_number(plain.get(x))}
        if open_:
            one = {x: Given(1, named[x].span, named[x].key) for x in open_}
            return _make(inst, cls, {**named, **one}, span)
        faults = [_invalid(inst, cls, dict(x), named, span) for x in _roots(error)]
        raise faults[0] from error


def _open_number(value: object) -> bool:
    """A size that a definition leaves open, for a parameter that takes numbers only."""
    return isinstance(value, Poly) and value.range()[1] >= 1


def _roots(error: ValidationError) -> list[Any]:
    """One error for each parameter: a union reports each of its alternatives.

    A misspelt name is also missing under its right one; only the first is said.
    """
    roots = list({x["loc"][:1]: x for x in reversed(error.errors())}.values())
    return [x for x in roots if x["type"] == "extra_forbidden"] or roots


def _plain(inst: Instance, cls: type[Block], key: str, given: Given) -> object:
    value = given.value
    if isinstance(value, Fn):
        raise inst.problems.fail(
            "OP0209",
            f"`{key}` of `{cls.keyword()}` is not a function",
            Label(given.span, f"this is {kind(value)}"),
            frames=inst.frames,
        )
    if isinstance(value, Word) and key in cls.model_fields and not _takes_words(cls, key):
        if value.text not in activations():
            raise unknown(inst, value, given.span)
        raise inst.problems.fail(
            "OP0208",
            f"`{key}` of `{cls.keyword()}` cannot be {kind(value)}",
            Label(given.span, "a number or another value is needed"),
            frames=inst.frames,
        )
    return _python(value)


def _python(value: Value) -> object:
    if isinstance(value, Word):
        return value.text
    return tuple(_python(x) for x in value) if isinstance(value, tuple) else value


def _takes_words(cls: type[Block], key: str) -> bool:
    return bool(literal_words(cls, key)) or cls.model_fields[key].annotation is str


def _invalid(
    inst: Instance, cls: type[Block], error: dict[str, Any], named: Mapping[str, Given], span: Span
) -> Poisoned:
    key = str(error["loc"][0]) if error["loc"] else ""
    name, takes = cls.keyword(), ", ".join(cls.model_fields)
    match error["type"]:
        case "extra_forbidden":
            return inst.problems.fail(
                "OP0207",
                f"`{name}` has no parameter `{key}`",
                Label(named[key].key, "unknown parameter"),
                frames=inst.frames,
                notes=(f"`{name}` takes: {takes}" if takes else f"`{name}` takes no parameters",),
                helps=did_you_mean(key, cls.model_fields),
            )
        case "missing":
            return inst.problems.fail(
                "OP0205",
                f"`{name}` needs `{key}`",
                Label(span, f"`{key}` is not given"),
                frames=inst.frames,
                helps=(f"add `{key} = ...`",),
            )
    return _bad_value(inst, cls, key, error, named, span)


def _bad_value(  # the parts of one sentence
    inst: Instance,
    cls: type[Block],
    key: str,
    error: dict[str, Any],
    named: Mapping[str, Given],
    span: Span,
) -> Poisoned:
    given = named.get(key)
    words = literal_words(cls, key) if key in cls.model_fields else ()
    said = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    text = show(given.value) if given else key
    return inst.problems.fail(
        "OP0208",
        f"`{key}` of `{cls.keyword()}` cannot be `{text}`",
        Label(given.span if given else span, "unknown word" if words else said.lower()),
        frames=inst.frames,
        notes=(f"`{key}` is one of: {', '.join(words)}",) if words else (),
        helps=did_you_mean(text, words) if words else (),
    )


def _refused(
    inst: Instance,
    refusal: Refusal,
    functions: tuple[Given, ...],
    named: Mapping[str, Given],
    call_: tuple[Span, Span],
) -> Poisoned:
    head, span = call_
    place = head if refusal.inputs else span
    if isinstance(refusal.at, int):
        place = functions[refusal.at].span
    elif refusal.at is not None and refusal.at in named:
        place = named[refusal.at].span
    labels = [Label(functions[i].span, text) for i, text in refusal.inputs.items()]
    return inst.problems.fail(
        refusal.code,
        refusal.message,
        Label(place, refusal.label),
        *labels,
        frames=inst.frames,
        notes=refusal.notes,
        helps=refusal.helps,
    )
