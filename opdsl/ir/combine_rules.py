"""Rules for blocks that combine functions: one domain, equal channels.

A `Refusal` names the space of each part, and how to make them fit.
"""

from opdsl.ir.block import Refusal
from opdsl.ir.dims import Dim, larger
from opdsl.ir.spaces import Domain, Space

NOUNS = {"grid": "grid", "interval": "grid", "points": "points", "mesh": "mesh", "sphere": "sphere"}


def same_domain(verb: str, x: tuple[Space, ...]) -> None:
    """Check that all parts live on one domain (`verb`: add, concatenate).

    Raises:
        Refusal: OP0304, with each part's space.
    """
    other = next((y for y in x if y.domain != x[0].domain), None)
    if other is None:
        return
    first, second = x[0].domain, other.domain
    related = first.name == second.name
    noun = NOUNS.get(first.kind, "domain") if first.kind == second.kind else "domain"
    note = (
        f"`{first}` and `{second}` have the same axes but a different number of points"
        if related
        else f"`{first}` and `{second}` are different declarations, even where sizes agree"
    )
    cures = (
        f"resample one of them: `resample(to = {second})`",
        f"or let the previous layer target it: `to = {second}`",
    )
    raise Refusal(
        "OP0304",
        f"cannot {verb} functions on different {noun.rstrip('s')}s",
        f"all parts must live on the same {noun}",
        inputs={i: f"`{y}`" for i, y in enumerate(x)},
        notes=(note,),
        helps=cures if related else _one_domain(first, second),
    )


def _one_domain(first: Domain, second: Domain) -> tuple[str, ...]:
    if "vector" in (first.kind, second.kind):
        to = second if first.kind == "vector" else first
        return (f"make a constant function of the vector: `broadcast(to = {to})`",)
    return (f"compute both on one domain: `{first}` or `{second}`",)


def same_field(verb: str, x: tuple[Space, ...]) -> None:
    """Check that all parts have real values, or all have complex ones.

    Raises:
        Refusal: OP0312, with each part's space.
    """
    if len({y.field for y in x}) == 1:
        return
    raise Refusal(
        "OP0312",
        f"cannot {verb} real and complex functions",
        "all parts must have values of one kind",
        inputs={i: f"`{y}` is {'complex' if y.complex else 'real'}" for i, y in enumerate(x)},
        helps=(
            "take a part of the complex one: `real(...)`, `imag(...)` or `modulus(...)`",
            "or make the real one complex: `complex(v)`",
        ),
    )


def same_channels(verb: str, x: tuple[Space, ...]) -> None:
    """Check that both parts have the same number of channels.

    Raises:
        Refusal: OP0303, with each part's space.
    """
    a, b = x[0].channels, x[-1].channels
    if a == b:
        return
    wider = larger(a, b)
    raise Refusal(
        "OP0303",
        f"cannot {verb} {count(a)} and {count(b)}",
        "channel counts differ",
        inputs={i: f"this is `{y}`" for i, y in enumerate(x)},
        helps=(
            f"map one side: `linear(out = {wider})`",
            f"or keep both with `concat(...)`, giving {a + b} channels",
        ),
    )


def common_components(x: tuple[Space, ...]) -> tuple[str, ...] | None:
    """Return the names of the channels, if all parts that have names agree on them."""
    named = {y.components for y in x if y.components is not None}
    return named.pop() if len(named) == 1 else None


def count(channels: Dim) -> str:
    """Write a number of channels: `1 channel`, `64 channels`."""
    return f"{channels} channel" + ("" if channels == 1 else "s")
