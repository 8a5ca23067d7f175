"""The evaluation budget: how much work and how large values a program may ask for.

Every expression, scope and node is charged here, for the model and for all blocks of its file
together, so that `check` ends for every text. What exceeds the budget is one diagnostic, OP0212,
with the place where most of it was spent.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opdsl.diagnostics import Label, Span
from opdsl.elaborate.problems import Poisoned, Problems
from opdsl.elaborate.values import Value
from opdsl.ir.dims import Poly
from opdsl.ir.spaces import Coarsen, Domain

if TYPE_CHECKING:
    from opdsl.elaborate.instance import Instance

STEPS = 500_000  # the largest program in specs takes 9,000, a model of 18,000 nodes 300,000
NODES = 20_000  # more is a mistake in a repeat
FRAMES = 600  # frames of Python's stack, which has 1,000
BITS = 128  # a product of seven such numbers is still a finite float
LEAVES = 16_384  # numbers of a tuple, its nested tuples included
TERMS = 128  # of a formula in open sizes
DEGREE = 64
LETTERS = 4096  # in the names of the sizes of a formula

# what a step of each kind costs
SCOPE = 10
NODE = 10
# frames of Python's stack that each kind of nesting takes
EXPRESSION = 3
NAME = 8
CALL = 6
CHAIN = 3


@dataclass(slots=True)
class Budget:
    """What has been spent.

    Attributes:
        steps: evaluations of expressions, scopes, nodes, elements of tuples.
        nodes: of the graph that is being made.
        frames: how deep the evaluation is at this moment, in frames of Python's stack.
        spent: steps by the user's statement, repeat or call that took them.
        places: the statements, repeats and calls around the current expression.
        exhausted: whether there are no steps left; nothing is evaluated any more.
        reported: whether it was said that there are too many steps or levels, which is said once.
    """

    steps: int = 0
    frames: int = 0
    spent: Counter[Span] = field(default_factory=Counter)
    places: list[Span] = field(default_factory=list)
    exhausted: bool = False
    reported: bool = False

    def step(self, inst: Instance, span: Span, count: int = 1) -> None:
        """Charge `count` steps.

        Raises:
            Poisoned: after OP0212 the first time, silently from then on.
        """
        if self.exhausted:
            raise Poisoned
        self.steps += count
        place = self.places[-1] if self.places else span
        self.spent[place] += count
        if self.steps > STEPS:
            self.exhausted = True
            place, most = self.spent.most_common(1)[0]
            raise self._once(
                inst,
                f"evaluating this program takes more than {STEPS:,} steps",
                Label(place, f"{most:,} of them are spent here"),
                "repeat less often, or call fewer blocks",
            )

    def enter(self, inst: Instance, span: Span, frames: int) -> None:
        """Go one level deeper; whoever enters takes the frames back off `frames`.

        Raises:
            Poisoned: after OP0212 the first time, silently from then on.
        """
        if self.exhausted:
            raise Poisoned
        if self.frames + frames > FRAMES:
            raise self._once(
                inst,
                "this program is evaluated too deeply",
                Label(span, "needs a value that needs a value, and so on"),
                "write what is needed before what needs it, and nest fewer blocks",
            )
        self.frames += frames

    def _once(self, inst: Instance, message: str, label: Label, cure: str) -> Poisoned:
        if self.reported:
            return Poisoned()
        self.reported = True
        return _exceeded(inst, message, label, helps=(cure,))

    @contextmanager
    def inside(self, inst: Instance, place: Span, frames: int) -> Iterator[None]:
        """Evaluate a part of the program, to which the steps are charged, at one more level.

        Raises:
            Poisoned: after OP0212.
        """
        self.enter(inst, place, frames)
        # a line of the library is charged to the user's line that leads to it
        self.places.append(self.places[-1] if place.source.library and self.places else place)
        try:
            yield
        finally:
            self.places.pop()
            self.frames -= frames

    def value(self, inst: Instance, value: Value, span: Span) -> None:
        """Charge a value for its size.

        Raises:
            Poisoned: after OP0212, it is too large.
        """
        if isinstance(value, tuple):
            self.step(inst, span, _leaves(value))
        if (reason := excess(value)) is not None:
            raise _exceeded(inst, reason[0], Label(span, reason[1]))

    def node(self, inst: Instance, span: Span) -> None:
        """Charge a node.

        Raises:
            Poisoned: after OP0212, the graph has as many as it may.
        """
        self.step(inst, span, NODE)
        if len(inst.builder.nodes) >= NODES:
            raise _exceeded(
                inst,
                f"this model has more than {NODES:,} nodes",
                Label(span, "and this is one more"),
                helps=("repeat less often",),
            )


def _exceeded(
    inst: Instance, message: str, label: Label, *, helps: tuple[str, ...] = ()
) -> Poisoned:
    problems: Problems = inst.problems
    return problems.fail(
        "OP0212",
        message,
        label,
        frames=inst.frames,
        notes=("programs are evaluated within a budget, so that every check ends",),
        helps=helps,
    )


def excess(value: Value) -> tuple[str, str] | None:
    """Why a value is larger than any that a program may hold: a message and a label, or None."""
    found = next((test for kind, test in TESTS if isinstance(value, kind)), None)
    return found(value) if found else None


def _integer(value: int) -> tuple[str, str] | None:
    if value.bit_length() <= BITS:
        return None
    return f"this number has {value.bit_length():,} bits", f"a whole number has at most {BITS}"


def _float(value: float) -> tuple[str, str] | None:
    if math.isfinite(value):
        return None
    return "this number is not finite", f"the result of the arithmetic is `{value}`"


def _tuple(value: tuple[Value, ...]) -> tuple[str, str] | None:
    count = _leaves(value)
    if count > LEAVES:
        return f"this tuple has {count:,} elements", f"a tuple has at most {LEAVES:,}"
    return next((x for x in map(excess, value) if x is not None), None)


def _leaves(value: Value) -> int:
    # tuples inside were counted when they were made, so this ends soon
    return sum(map(_leaves, value)) + 1 if isinstance(value, tuple) else 1


def _formula(value: Poly) -> tuple[str, str] | None:
    degree = max((sum(p for _, p in m) for m, _ in value.terms), default=0)
    letters = sum(len(name) for m, _ in value.terms for name, _ in m)
    if len(value.terms) > TERMS or degree > DEGREE or letters > LETTERS:
        return (
            f"this formula has {len(value.terms)} terms of degree up to {degree}",
            f"at most {TERMS} terms of degree {DEGREE}",
        )
    return next((x for x in (excess(f) for _, f in value.terms) if x is not None), None)


def _domain(value: Domain) -> tuple[str, str] | None:
    factors = (x.factor for p in value.parts for x in p.steps if isinstance(x, Coarsen))
    return next((x for x in map(_integer, factors) if x is not None), None)


TESTS: tuple[tuple[type, Callable[..., tuple[str, str] | None]], ...] = (
    (int, _integer),
    (float, _float),
    (tuple, _tuple),
    (Poly, _formula),
    (Domain, _domain),
)
