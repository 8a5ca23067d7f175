"""Domains as text: the statements that declare them, and the expressions that refer to them.

`domain E = extend(D, ...)` declares, `D / 2` refers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from opdsl.diagnostics import OpError, fault
from opdsl.export.literals import number, sequence
from opdsl.ir.axes import Axis
from opdsl.ir.spaces import MEASURED, Domain
from opdsl.ir.steps import Coarsen, Extend

PROMISES = ("boundary", "sampling", "min", "max", "multiple_of", "fixed", "size")


class DomainNames:
    """The names of the domains declared so far.

    Attributes:
        free: makes an unused name of a preferred one.
        names: the name of each domain that a statement declares.
    """

    def __init__(self, free: Callable[[str], str]) -> None:
        self.free = free
        self.names: dict[Domain, str] = {}

    def declare(self, domain: Domain) -> list[str]:
        """Yield the statements that must precede a use of the domain, if any."""
        return [self._declare(x) for x in _needed_domains(domain) if x not in self.names]

    def _declare(self, domain: Domain) -> str:
        value = self._value(domain)
        self.names[domain] = self.free(_preferred_name(domain))
        return f"domain {self.names[domain]} = {value}"

    def inside(self, domains: Iterable[Domain]) -> tuple[list[str], list[str]]:
        """Declare domains within a block.

        Returns:
            The names of those that a call passes, and the statements of the block.
        """
        needed = dict.fromkeys(y for x in domains for y in _needed_domains(x))
        roots = [x for x in needed if _is_root(x)]
        lines = [f"domain {self.names[x]} : {x.kind}" for x in roots]
        derived = [x for x in needed if not _is_root(x)]
        lines += [f"domain {self.names[x]} = {self._value(x)}" for x in derived]
        return [self.names[x] for x in roots], lines

    def expression(self, domain: Domain) -> str:
        """Write an expression for a domain: `D`, `D / 2`, `X * (T / 2)`."""
        if domain in self.names:
            return self.names[domain]
        if domain.kind == "product":
            parts = (self.expression(x) for x in domain.factors)
            return " * ".join(f"({x})" if "/" in x else x for x in parts)
        last = domain.steps[-1]
        assert isinstance(last, Coarsen)
        return f"{self.expression(_before(domain))} / {last.factor}"

    def _value(self, domain: Domain) -> str:
        if _is_root(domain):
            return f"{domain.kind}({', '.join(_arguments(domain))})"
        if domain.kind == "spectrum":
            if not domain.halved:
                raise unsayable("the modes of a complex function")
            modes = sequence([str(x) for x in domain.modes or ()])
            return f"spectrum({self.expression(domain.factors[0])}, {modes})"
        step = domain.steps[-1]
        assert isinstance(step, Extend)
        inner = self.expression(_before(domain))
        sides = "" if step.sides == "end" else f", sides = {step.sides}"
        kind = "" if step.kind == "zero" else f", kind = {step.kind}"
        rounding = "" if step.rounding == "up" else f", rounding = {step.rounding}"
        return f"extend({inner}, fraction = {_fraction(step)}{sides}{kind}{rounding})"


def _fraction(step: Extend) -> str:
    if isinstance(step.numerator, int):
        return number(step.numerator / step.denominator)
    return sequence([number(x / step.denominator) for x in step.numerator])


def _needed_domains(domain: Domain) -> Iterator[Domain]:
    """Yield the domains that need a statement before this one can be written, in order."""
    for x in domain.factors:
        yield from _needed_domains(x)
    if domain.kind == "spectrum":
        yield domain
    elif domain.kind not in {"vector", "product"}:
        yield domain.root
        for i, step in enumerate(domain.steps, 1):
            if isinstance(step, Extend):
                yield domain.reached_by(*domain.steps[:i])


def _preferred_name(domain: Domain) -> str:
    if domain.kind == "spectrum":
        return f"{domain.factors[0].parts[0].name}_modes"
    last = domain.steps[-1] if domain.steps else None
    return last.name if isinstance(last, Extend) else domain.name


def _is_root(domain: Domain) -> bool:
    return not domain.steps and domain.kind != "spectrum"


def _before(domain: Domain) -> Domain:
    return domain.reached_by(*domain.steps[:-1])


def _arguments(domain: Domain) -> Iterator[str]:
    """Yield the arguments of the call that makes a declared domain."""
    if domain.scattered:
        yield str(domain.ambient)
        if domain.geometry != "shared":
            yield f"geometry = {domain.geometry}"
        if domain.measure != MEASURED.get(domain.kind):
            yield f"measure = {domain.measure}"
        if domain.period is not None:
            yield f"period = {_period(domain.period)}"
    for x in () if domain.scattered else domain.axes:
        ends = "" if domain.kind == "sphere" else f": {number(x.lo)}..{number(x.hi)}"
        yield f"{x.name}{ends}"
    if domain.sampling:
        yield f"sampling = {domain.sampling}"
    for key in PROMISES[2 if domain.kind == "sphere" else 0 :]:
        yield from _promise(domain.axes, key)


def _period(period: tuple[float | None, ...]) -> str:
    """Write the periods of the axes: `1.0`, or `(1.0, none)`."""
    texts = ["none" if x is None else number(x) for x in period]
    return texts[0] if len(set(texts)) == 1 else sequence(texts)


def _promise(axes: tuple[Axis, ...], key: str) -> Iterator[str]:
    """Yield a promise, `min = 65` or `min = (65, 33)`; nothing if all axes have the default."""
    values = [getattr(x, key) for x in axes]
    if all(x == Axis.model_fields[key].default for x in values):
        return
    if key == "sampling":
        values = [x.points for x in axes]
    if None in values:
        raise unsayable(f"`{key}` of some axes only")
    texts = ["..".join(x) if isinstance(x, tuple) else str(x) for x in values]
    yield f"{key} = {texts[0] if len(set(texts)) == 1 else sequence(texts)}"


def unsayable(what: str) -> OpError:
    """Make OP0107: no program text means this graph."""
    return fault(
        "OP0107",
        f"a flat program cannot say this: {what}",
        helps=("`opdsl ir` writes every graph",),
    )
