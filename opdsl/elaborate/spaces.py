"""Declared spaces against met ones: at inputs, at outputs, at annotations.

What comes in: an instance, a declared type, the space of a function. What goes out: domains and
dims that became known, or one diagnostic with both spaces in full.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

from opdsl.diagnostics import Label, Span, did_you_mean
from opdsl.elaborate.arithmetic import is_count
from opdsl.elaborate.domains import CONSTRUCTORS
from opdsl.elaborate.problems import Poisoned
from opdsl.elaborate.values import Fn, Value, kind
from opdsl.ir.combine_rules import count
from opdsl.ir.spaces import BOUNDS, KINDS, VECTOR, Domain, Space
from opdsl.syntax import tree

if TYPE_CHECKING:
    from opdsl.elaborate.instance import Instance

REAL_PARTS = "take a real part of it: `real(...)`, `imag(...)` or `modulus(...)`"
WHY = {
    "grid": "a Fourier transform needs equispaced samples on a regular grid",
    "sphere": "spherical harmonics live on the sphere",
}


def declared(inst: Instance, type_: tree.TypeExpr) -> Space:
    """The space that a type says, everything in it known.

    Raises:
        Poisoned: something in it is unknown.
    """
    field = _field(inst, type_.codomain)
    domain = _domain(inst, type_.domain) if type_.domain else VECTOR
    names = components(type_.codomain)
    channels = _channels(inst, type_.codomain)
    return Space(domain=domain, channels=channels, field=field, components=names)


def unify(inst: Instance, statement: tree.Input, met: Space, span: Span) -> None:
    """Make the declared type of an input the space that is met.

    Raises:
        Poisoned: it cannot be.
    """
    _unify_domain(inst, statement, met, span)
    if _field(inst, statement.type.codomain) != met.field:
        raise inst.problems.fail(
            "OP0312",
            f"input `{statement.name.text}` of `{inst.definition.name.text}` is "
            f"{_numbers(statement.type.codomain.field.text)}",
            Label(span, f"this is `{met}`"),
            Label(statement.type.span, "declared here"),
            frames=inst.frames,
            helps=(REAL_PARTS if met.complex else "make it complex: `complex(v)`",),
        )
    _unify_channels(inst, statement, met, span)


def check_output(inst: Instance, statement: tree.Output, value: Fn) -> Space:
    """The declared space of an output, if the function that is bound to it lives there."""
    space = declared(inst, statement.type)
    bound = inst.binding(statement.name.text)
    here = bound.value.span if bound else statement.name.span
    name = statement.name.text
    if value.space.domain != space.domain:
        raise _mismatch(
            inst,
            "OP0304",
            f"output `{name}` {_lives(space)} but receives {_what(value.space)}",
            statement.type.span,
            space,
            here,
            value.space,
            helps=_moves(space.domain, value.space.domain),
        )
    if value.space.field != space.field:
        raise _mismatch(
            inst,
            "OP0312",
            f"output `{name}` is {_numbers(space.field)} but receives "
            f"{_numbers(value.space.field)} values",
            statement.type.span,
            space,
            here,
            value.space,
            helps=(REAL_PARTS if value.space.complex else "make it complex: `complex(v)`",),
        )
    if value.space.channels != space.channels:
        raise _mismatch(
            inst,
            "OP0303",
            f"output `{name}` has {count(space.channels)} but receives {value.space.channels}",
            statement.type.span,
            space,
            here,
            value.space,
            notes=_named(space),
            helps=_project(bound, space.channels),
        )
    _same_names(inst, statement, space, value.space, here)
    return space if space.components else value.space


def check_annotation(inst: Instance, statement: tree.Bind, value: Value) -> None:
    """`w : D -> R^c = ...` says what is computed (OP0305)."""
    if statement.type is None:
        return
    space = declared(inst, statement.type)
    met = value.space if isinstance(value, Fn) else None
    if met is None or not _alike(met, space):
        raise inst.problems.fail(
            "OP0305",
            f"`{statement.names[0].text}` is annotated as `{space}` but is "
            + (f"`{met}`" if met else kind(value)),
            Label(statement.type.span, f"declared `{space}`"),
            Label(statement.value.span, f"this is `{met}`" if met else f"this is {kind(value)}"),
            frames=inst.frames,
            helps=(f"write `: {met}`, or change the value",) if met else (),
        )


def _alike(a: Space, b: Space) -> bool:
    return (a.domain, a.channels, a.field) == (b.domain, b.channels, b.field)


def wrong_kind(
    inst: Instance,
    name: str,
    domain: Domain,
    kinds: Collection[str],
    span: Span,
    met: str | None = None,
) -> Poisoned:
    """OP0301: `name` is defined on domains of these kinds only."""
    place = inst.shared.places.get(domain.name)
    declared_here = (Label(place, f"`{domain}` is {KINDS[domain.kind]}"),) if place else ()
    wanted = min(kinds)  # what can be said of one kind is said of the first
    *others, last = (KINDS.get(x, x) for x in sorted(kinds))
    needs = f"{', '.join(others)} or {last}" if others else last
    return inst.problems.fail(
        "OP0301",
        f"`{name}` is defined on {needs} only",
        Label(span, f"needs {needs}, got `{met or domain}`"),
        *declared_here,
        frames=inst.frames,
        notes=(WHY[wanted],) if wanted in WHY else (),
        helps=_elsewhere(domain, wanted),
    )


def _elsewhere(domain: Domain, wanted: str) -> tuple[str, ...]:
    """What to do with a function on a domain of the wrong kind."""
    if wanted == "grid" and domain.scattered:
        return (
            (
                "move the function to a latent grid first: "
                "`domain L = grid(..., size = 64)` and `gno(to = L, radius = ...)`"
            ),
            "or use an operator that accepts points: `gno`, `attention`, `cross_attention`",
        )
    if wanted == "grid" and domain.kind == "sphere":
        return ("use `spherical_conv(lmax = ...)`, or `attention`, which accepts any domain",)
    if domain.kind == "vector":
        return ("make a constant function of the vector: `broadcast(to = ...)`",)
    if wanted == "grid":
        return ("declare it as a regular grid: `grid(x: 0..1, y: 0..1)`",)
    return ()


def components(codomain: tree.Codomain) -> tuple[str, ...] | None:
    """The names in `R^{ux, uy}`."""
    return tuple(x.text for x in codomain.names) if codomain.names else None


# ------------------------------------------------------------------------ parts


def _field(inst: Instance, codomain: tree.Codomain) -> Literal["R", "C"]:
    if codomain.field.text == "R":
        return "R"
    if codomain.field.text == "C":
        return "C"
    raise inst.problems.fail(
        "OP0201",
        f"unknown set of numbers `{codomain.field.text}`",
        Label(codomain.field.span, "write `R`, the real numbers, or `C`, the complex ones"),
        frames=inst.frames,
    )


def _numbers(field: str) -> str:
    return "complex" if field == "C" else "real"


def _domain(inst: Instance, expr: tree.Expr) -> Domain:
    if isinstance(expr, tree.Call) and expr.name in CONSTRUCTORS and expr.name != "spectrum":
        raise inst.problems.fail(
            "OP0209",
            "a domain is declared by a statement of its own",
            Label(expr.span, "not here"),
            frames=inst.frames,
            helps=(f"write `domain D = {expr.name}(...)`",),
        )
    if isinstance(expr, tree.Call) and expr.name == "spectrum":
        return inst.domains.spectrum(expr)
    value = _known(inst, expr)
    if isinstance(value, Domain):
        return value
    raise inst.problems.fail(
        "OP0209",
        "the left side of `->` is a domain",
        Label(expr.span, f"this is {kind(value)}"),
        frames=inst.frames,
    )


def _known(inst: Instance, expr: tree.Expr) -> Value:
    if isinstance(expr, tree.Name) and inst.lookup(expr.text) is None:
        if expr.text in inst.module.lost:
            raise Poisoned
        domains = [x.name.text for x in inst.statements(tree.Domain)]
        raise inst.problems.fail(
            "OP0201",
            f"unknown name `{expr.text}`",
            Label(expr.span, "not found"),
            frames=inst.frames,
            helps=did_you_mean(expr.text, domains)
            or (f"declare it: `domain {expr.text} = grid(x: 0..1, y: 0..1)`",),
        )
    return inst.number(expr)


def _channels(inst: Instance, codomain: tree.Codomain) -> int:
    if codomain.names is not None:
        return _distinct(inst, codomain.names)
    if codomain.channels is None:
        return 1
    value = inst.number(codomain.channels)
    if is_count(value) and value >= 1:
        return value
    raise inst.problems.fail(
        "OP0208",
        "a number of channels is a whole number above zero",
        Label(codomain.channels.span, f"this is {kind(value)}"),
        frames=inst.frames,
    )


def _distinct(inst: Instance, names: tuple[tree.Ident, ...]) -> int:
    seen: dict[str, Span] = {}
    for name in names:
        if name.text in seen:
            raise inst.problems.fail(
                "OP0203",
                f"two components are called `{name.text}`",
                Label(name.span, "the second one"),
                Label(seen[name.text], "the first one"),
            )
        seen[name.text] = name.span
    return len(names)


def _open(inst: Instance, expr: tree.Expr | None) -> str | None:
    """The name of a domain or dim that is still to be found out, if the expression is one."""
    if not isinstance(expr, tree.Name):
        return None
    entry = inst.entries.get(expr.text)
    if entry is None or entry.state != "new":
        return None
    statement = entry.statement
    return (
        expr.text if isinstance(statement, tree.Domain | tree.Dim) and not statement.value else None
    )


def _unify_domain(inst: Instance, statement: tree.Input, met: Space, span: Span) -> None:
    expr = statement.type.domain
    name = _open(inst, expr)
    if name is not None:
        entry = inst.entries[name]
        assert isinstance(entry.statement, tree.Domain)
        bound = entry.statement.kind.name.text if entry.statement.kind else "any"
        if bound in BOUNDS and not met.domain.satisfies(bound):
            site = inst.frames[-1] if inst.frames else span
            title = inst.definition.name.text
            raise wrong_kind(inst, title, met.domain, (bound,), site, str(met))
        entry.settle(inst.as_domain(entry.statement, met.domain, span))
        return
    want = _domain(inst, expr) if expr else VECTOR
    if want != met.domain:
        lives = f"lives on `{want}`" if expr else "is a vector"
        raise inst.problems.fail(
            "OP0304",
            f"input `{statement.name.text}` of `{inst.definition.name.text}` {lives}",
            Label(span, f"this is `{met}`"),
            Label(statement.type.span, "declared here"),
            frames=inst.frames,
            helps=_moves(want, met.domain),
        )


def _unify_channels(inst: Instance, statement: tree.Input, met: Space, span: Span) -> None:
    codomain = statement.type.codomain
    name = _open(inst, codomain.channels)
    if name is not None:
        inst.entries[name].settle(met.channels)
        return
    want = _channels(inst, codomain)
    if want != met.channels:
        raise inst.problems.fail(
            "OP0303",
            f"input `{statement.name.text}` of `{inst.definition.name.text}` has {count(want)}, "
            f"not {met.channels}",
            Label(span, f"this is `{met}`"),
            Label(statement.type.span, f"declared with {count(want)}"),
            frames=inst.frames,
            helps=(f"map it first: `linear(out = {want})`",),
        )
    names = components(codomain)
    if names and met.components and names != met.components:
        raise inst.problems.fail(
            "OP0303",
            f"the components of `{statement.name.text}` differ",
            Label(span, f"these are {', '.join(met.components)}"),
            Label(statement.type.span, f"these are {', '.join(names)}"),
            frames=inst.frames,
        )


def _mismatch(  # noqa: PLR0913, PLR0917  the parts of one sentence
    inst: Instance,
    code: str,
    message: str,
    at: Span,
    want: Space,
    here: Span,
    met: Space,
    notes: tuple[str, ...] = (),
    helps: tuple[str, ...] = (),
) -> Poisoned:
    said = _said(want)
    labels = (Label(at, f"declared `{said}`"), Label(here, f"this is `{met}`"))
    return inst.problems.fail(code, message, *labels, frames=inst.frames, notes=notes, helps=helps)


def _lives(space: Space) -> str:
    return "is a vector" if space.domain.kind == "vector" else f"lives on `{space.domain}`"


def _what(space: Space) -> str:
    return "a vector" if space.domain.kind == "vector" else f"a function on `{space.domain}`"


def _said(space: Space) -> str:
    """The space with the names of its components."""
    if not space.components:
        return str(space)
    arrow = "" if space.domain.kind == "vector" else f"{space.domain} -> "
    return f"{arrow}{space.field}^{{{', '.join(space.components)}}}"


def _named(space: Space) -> tuple[str, ...]:
    names = space.components
    return (f"the {len(names)} components are {', '.join(names)}",) if names else ()


def _project(bound: tree.Bind | None, channels: int) -> tuple[str, ...]:
    """The last stage with the right width, if it takes `out`."""
    value = bound.value if bound else None
    last = value.stages[-1] if isinstance(value, tree.Pipe) else value
    if isinstance(last, tree.Call) and any(x.name and x.name.text == "out" for x in last.args):
        return (f"project to {count(channels)}: `{last.name}(out = {channels})`",)
    return (f"project to {count(channels)}: `linear(out = {channels})`",)


def _moves(want: Domain, met: Domain) -> tuple[str, ...]:
    if want.name != met.name:
        return ()
    if want.kind == "vector" or met.kind == "vector":
        return ()
    if met.extension_over(want):
        return (f"leave the extension: `crop(to = {want})`",)
    return (f"resample it: `resample(to = {want})`",)


def _same_names(
    inst: Instance, statement: tree.Output, want: Space, met: Space, here: Span
) -> None:
    if want.components and met.components and want.components != met.components:
        raise inst.problems.fail(
            "OP0303",
            f"the components of output `{statement.name.text}` differ from what it receives",
            Label(statement.type.span, f"declared {', '.join(want.components)}"),
            Label(here, f"these are {', '.join(met.components)}"),
            frames=inst.frames,
            notes=("components match by name and order",),
        )
