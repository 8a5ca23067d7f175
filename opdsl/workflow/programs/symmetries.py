"""The setting `symmetries`: calls such as `reflect(x, odd = [vx])`, compiled for a model.

What is left to training are axes, rolls, channels and signs, see `opdsl.train.config.symmetries`.
No torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from opdsl.diagnostics import Label, OpError, Source, did_you_mean, fault
from opdsl.ir.graph import Graph
from opdsl.syntax import tree
from opdsl.syntax.parser import parse_expr
from opdsl.train.config.settings import ResolvedSettings
from opdsl.train.config.symmetries import Symmetry
from opdsl.workflow.programs.symmetry_channels import Component, Components, channel_sources
from opdsl.workflow.programs.symmetry_domains import grid_maps


@dataclass(frozen=True, slots=True)
class SymmetryWord:
    """A word of `symmetries`.

    Attributes:
        axes: how many axes it takes.
        order: the number of applications that change nothing; None for shifts.
        options: the keywords that it takes.
    """

    axes: int
    order: int | None
    options: tuple[str, ...] = ("odd", "pairs")


WORDS = {
    "reflect": SymmetryWord(1, 2),
    "swap": SymmetryWord(2, 2),
    "rotate": SymmetryWord(2, 4, ("odd", "pairs", "vectors")),
    "shift": SymmetryWord(1, None, ()),
}
EXAMPLES = {
    "reflect": "reflect(x, odd = [vx])",
    "swap": "swap(x, y, pairs = [(vx, vy)])",
    "rotate": "rotate(x, y, vectors = [(vx, vy)])",
    "shift": "shift(x)",
}


def declared_symmetries(graph: Graph, resolved: ResolvedSettings) -> tuple[Symmetry, ...]:
    """Compile the setting `symmetries` of a run.

    Raises:
        OpError: as `compiled_symmetries`.
    """
    origin = resolved.origins["symmetries"]
    return compiled_symmetries(graph, resolved.settings.symmetries, origin)


def compiled_symmetries(
    graph: Graph, texts: Sequence[str], origin: str = "symmetries"
) -> tuple[Symmetry, ...]:
    """Compile the declared symmetries for a model.

    Args:
        graph: the model.
        texts: the value of the setting.
        origin: where the setting is from, for diagnostics.

    Raises:
        OpError: OP0604, a text is no call of a known word; OP0655, the domain or the components do
            not allow it; OP0101 to OP0106, a text is no expression. One diagnostic per declaration.
    """
    compiled: list[Symmetry] = []
    faults: list[OpError] = []
    for text in texts:
        try:
            compiled.append(_compiled(graph, Source(f"<{origin}>", text)))
        except OpError as error:
            faults.append(error)
    if faults:
        raise OpError(*(x for error in faults for x in error.diagnostics))
    return tuple(compiled)


def _compiled(graph: Graph, source: Source) -> Symmetry:
    call = _call(source)
    word, kind = call.name, WORDS[call.name]
    axes = _axes(call, kind)
    options = _options(call, kind)
    maps = grid_maps(graph, word, axes)
    components = Components(graph)
    odd = tuple(y for x in _items(options.get("odd")) for y in components.of(x))
    pairs = tuple(_pairs(options.get("pairs"), components))
    turned = tuple(_pairs(options.get("vectors"), components))
    _refuse_repeated([*odd, *(x for pair in (*pairs, *turned) for x in pair)], call)
    channels = channel_sources(graph, odd, pairs, turned, call.span)
    return Symmetry(source.text, kind.order, maps, channels)


def _call(source: Source) -> tree.Call:
    expr = parse_expr(source)
    helps: tuple[str, ...] = (f"write one of {', '.join(f'`{x}`' for x in EXAMPLES.values())}",)
    if not isinstance(expr, tree.Call):
        message = "a symmetry is a call such as `reflect(x)`"
        raise fault("OP0604", message, Label(expr.span, "this is none"), helps=helps)
    if expr.name not in WORDS:
        helps = did_you_mean(expr.name, WORDS) or helps
        raise fault("OP0604", f"there is no symmetry `{expr.name}`", Label(expr.head), helps=helps)
    return expr


def _axes(call: tree.Call, kind: SymmetryWord) -> tuple[tree.Name, ...]:
    """Return the axes of a call, which stand without keywords."""
    positional = [x.value for x in call.args if x.name is None]
    names = tuple(x for x in positional if isinstance(x, tree.Name))
    distinct = len({x.text for x in names}) == kind.axes
    if len(names) == len(positional) == kind.axes and distinct:
        return names
    count = "one axis" if kind.axes == 1 else "two different axes"
    helps = (f"for example `{EXAMPLES[call.name]}`",)
    raise fault("OP0604", f"`{call.name}` takes {count}", Label(call.span), helps=helps)


def _options(call: tree.Call, kind: SymmetryWord) -> dict[str, tree.Expr]:
    options: dict[str, tree.Expr] = {}
    for x in call.args:
        if x.name is None:
            continue
        key = x.name.text
        if x.sign != "=" or key not in kind.options:
            known = " and ".join(f"`{y}`" for y in kind.options) or "axes only"
            helps = (*did_you_mean(key, kind.options), f"it takes {known}")
            message = f"`{call.name}` has no option `{key}`"
            raise fault("OP0604", message, Label(x.name.span), helps=helps[:1])
        if key in options:
            raise fault("OP0604", f"`{key}` is given twice", Label(x.name.span, "again here"))
        options[key] = x.value
    return options


def _items(expr: tree.Expr | None) -> tuple[tree.Expr, ...]:
    """Return the items of a list or tuple; any other expression stands for itself."""
    if expr is None:
        return ()
    return expr.items if isinstance(expr, tree.Sequence) else (expr,)


def _pairs(expr: tree.Expr | None, components: Components) -> Iterator[tuple[Component, Component]]:
    """Yield the pairs of components of `[(vx, vy), ...]`."""
    items = _items(expr)
    if not any(isinstance(x, tree.Sequence) for x in items):
        items = (expr,) if expr is not None and items else ()  # `pairs = (vx, vy)`
    for item in items:
        both = _items(item)
        if len(both) != 2:
            helps = ("write `[(vx, vy)]`",)
            raise fault("OP0604", "a pair has two components", Label(item.span), helps=helps)
        yield from components.pairs(both[0], both[1], item.span)


def _refuse_repeated(components: Sequence[Component], call: tree.Call) -> None:
    """Refuse components that are named twice, for which two rules would hold."""
    seen: set[Component] = set()
    for x in components:
        if x in seen:
            message = f"two rules of `{call.name}` hold for {x}"
            helps = ("name each component in one place",)
            raise fault("OP0655", message, Label(call.span), helps=helps)
        seen.add(x)
