"""Nodes of blocks written in Python: the block with its parameters, and the space of its result.

A block's `Refusal` becomes a diagnostic here, with its places.
"""

from __future__ import annotations

from collections.abc import Mapping

from opdsl import blocks
from opdsl.diagnostics import Label, Span
from opdsl.elaborate.bind.domain_kinds import wrong_kind
from opdsl.elaborate.bind.scope import NameScope
from opdsl.elaborate.bind.types import REAL_PARTS
from opdsl.elaborate.evaluate.problems import Poisoned
from opdsl.elaborate.evaluate.values import Argument, Function, Value
from opdsl.elaborate.instantiate.block_parameters import block_parameters, make_block
from opdsl.elaborate.instantiate.place import Place
from opdsl.ir.block import Block, Refusal
from opdsl.ir.dims import Poly, Undecided, decided
from opdsl.ir.spaces import Space

DIVISIBLE = 5040  # divisible by all numbers up to 10
PRIMES = (1, 11, 13, 17, 19, 23)


def primitive(
    place: Place,
    keyword: str,
    values: tuple[Argument, ...],
    named: Mapping[str, Argument],
    spans: tuple[Span, Span],
    path: str,
) -> Value:
    """Add the node `path` of a block written in Python and return the function it computes.

    Args:
        place: where in the program it is called.
        keyword: the keyword of the block.
        values: the arguments without a name: functions, then other values.
        named: the arguments with a name.
        spans: the spans of the keyword or sign, and of the whole call.
        path: the path of the node.

    Raises:
        Poisoned: after a diagnostic.
    """
    scope, span = place.scope, spans[1]
    cls = blocks.find(keyword)
    assert cls is not None
    inputs = tuple(x for x in values if isinstance(x.value, Function))
    functions = tuple(x.value for x in inputs if isinstance(x.value, Function))
    positional = tuple(x for x in values if not isinstance(x.value, Function))
    named = block_parameters(scope, cls, positional, named, span)
    _check_arity(scope, cls, len(inputs), span)
    x = tuple(x.space for x in functions)
    for space in x:
        _check_kind(scope, cls, space, span)
    block = make_block(scope, cls, named, span)
    try:
        space = _infer(block, x)
    except Refusal as refusal:
        raise _refused(scope, refusal, inputs, named, spans) from refusal
    if block.is_identity(*x):
        return functions[0]
    scope.budget.node(scope, span, len(place.builder.nodes))
    return place.builder.node(path, block, functions, space, (*scope.frames, span))


def _infer(block: Block, x: tuple[Space, ...]) -> Space:
    """Infer the space of the result; with open sizes, by a trial if it is not decided at once."""
    try:
        return block.infer(*x)
    except Undecided:
        return _tried(block, x)


def _tried(block: Block, x: tuple[Space, ...]) -> Space:
    """Infer the result for sizes with many divisors, and write it in the open sizes again.

    Raises:
        Undecided: the channels of the result are not those of an input.
    """
    atoms = sorted({y for z in x for y in Poly.of(z.channels).atoms()})
    sizes = {name: DIVISIBLE * PRIMES[i % len(PRIMES)] for i, name in enumerate(atoms)}
    numbers = [int(Poly.of(z.channels).at(sizes)) for z in x]
    result = block.infer(
        *(z.model_copy(update={"channels": n}) for z, n in zip(x, numbers, strict=True))
    )
    symbols = {n: z.channels for z, n in zip(x, numbers, strict=True)}
    number = decided(result.channels)
    if number not in symbols:
        raise Undecided
    return result.model_copy(update={"channels": symbols[number]})


def _check_arity(scope: NameScope, cls: type[Block], count: int, span: Span) -> None:
    low, high = cls.arity
    if low <= count and (high is None or count <= high):
        return
    arity = f"{low}" if high == low else (f"{low} or more" if high is None else f"{low} to {high}")
    name = cls.keyword()
    raise scope.fail(
        "OP0206",
        f"`{name}` takes {arity} input{'' if arity == '1' else 's'}, not {count}",
        Label(span, f"{count} given"),
        helps=() if count else (f"put a function in: `v |> {name}(...)`",),
    )


def _check_kind(scope: NameScope, cls: type[Block], space: Space, span: Span) -> None:
    if space.complex and not cls.complex:
        raise scope.fail(
            "OP0312",
            f"`{cls.keyword()}` is defined on real functions only",
            Label(span, f"got `{space}`"),
            helps=(REAL_PARTS,),
        )
    if cls.kinds and not any(space.domain.satisfies(x) for x in cls.kinds):
        raise wrong_kind(scope.site, cls.keyword(), space.domain, cls.kinds, span, str(space))


def _refused(
    scope: NameScope,
    refusal: Refusal,
    inputs: tuple[Argument, ...],
    named: Mapping[str, Argument],
    spans: tuple[Span, Span],
) -> Poisoned:
    place = spans[0] if refusal.inputs else spans[1]
    if isinstance(refusal.at, int):
        place = inputs[refusal.at].span
    elif refusal.at is not None and refusal.at in named:
        place = named[refusal.at].span
    labels = [Label(inputs[i].span, text) for i, text in refusal.inputs.items()]
    return scope.fail(
        refusal.code,
        refusal.message,
        Label(place, refusal.label),
        *labels,
        notes=refusal.notes,
        helps=refusal.helps,
    )
