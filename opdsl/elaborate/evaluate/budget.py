"""The evaluation budget: the amount of work that evaluating a program may take.

Every expression, scope and node is charged here, for the model and for all blocks of its file
together, so that `check` ends for every text. A program that takes too many steps is reported as
OP0212, with the place where most of them were spent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from opdsl.diagnostics import Label, Span
from opdsl.elaborate.evaluate.limits import excess, leaves
from opdsl.elaborate.evaluate.problems import Poisoned, Reporter
from opdsl.elaborate.evaluate.values import Value

STEPS = 500_000  # the largest program in specs takes 9,000, a model of 18,000 nodes 300,000
NODES = 20_000  # more is a mistake in a repeat
FRAMES = 600  # frames of Python's stack, which has 1,000

# steps that each kind of work costs
SCOPE = 10
NODE = 10
# frames of Python's stack that each kind of nesting takes
EXPRESSION = 3
NAME = 8
CALL = 6
CHAIN = 3


@dataclass(slots=True, eq=False, repr=False)
class Budget:
    """The work spent so far on evaluating a program.

    Attributes:
        steps: evaluations of expressions, scopes, nodes, elements of tuples.
        frames: how deep the evaluation is at this moment, in frames of Python's stack.
        spent: steps by the user's statement, repeat or call that took them.
        places: the statements, repeats and calls around the current expression.
        exhausted: whether there are no steps left; nothing is evaluated any more.
        reported: whether too many steps or levels were reported, which is done once.
    """

    steps: int = 0
    frames: int = 0
    spent: Counter[Span] = field(default_factory=Counter)
    places: list[Span] = field(default_factory=list)
    exhausted: bool = False
    reported: bool = False

    def step(self, report: Reporter, span: Span, count: int = 1) -> None:
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
                report,
                f"evaluating this program takes more than {STEPS:,} steps",
                Label(place, f"{most:,} of them are spent here"),
                "repeat less often, or call fewer blocks",
            )

    def enter(self, report: Reporter, span: Span, frames: int) -> None:
        """Go one level deeper; whoever enters takes the frames back off `frames`.

        Raises:
            Poisoned: after OP0212 the first time, silently from then on.
        """
        if self.exhausted:
            raise Poisoned
        if self.frames + frames > FRAMES:
            raise self._once(
                report,
                "this program is evaluated too deeply",
                Label(span, "needs a value that needs a value, and so on"),
                "write what is needed before what needs it, and nest fewer blocks",
            )
        self.frames += frames

    def _once(self, report: Reporter, message: str, label: Label, cure: str) -> Poisoned:
        if self.reported:
            return Poisoned()
        self.reported = True
        return _exceeded(report, message, label, helps=(cure,))

    @contextmanager
    def inside(self, report: Reporter, place: Span, frames: int) -> Iterator[None]:
        """Evaluate a part of the program, to which the steps are charged, at one more level.

        Raises:
            Poisoned: after OP0212.
        """
        self.enter(report, place, frames)
        # a line of the library is charged to the user's line that leads to it
        self.places.append(self.places[-1] if place.source.library and self.places else place)
        try:
            yield
        finally:
            self.places.pop()
            self.frames -= frames

    def value(self, report: Reporter, value: Value, span: Span) -> None:
        """Charge a value for its size.

        Raises:
            Poisoned: after OP0212, it is too large.
        """
        if isinstance(value, tuple):
            self.step(report, span, leaves(value))
        if (reason := excess(value)) is not None:
            raise _exceeded(report, reason[0], Label(span, reason[1]))

    def node(self, report: Reporter, span: Span, count: int) -> None:
        """Charge one more node for a graph that has `count`.

        Raises:
            Poisoned: after OP0212, the graph has as many as it may.
        """
        self.step(report, span, NODE)
        if count >= NODES:
            raise _exceeded(
                report,
                f"this model has more than {NODES:,} nodes",
                Label(span, "and this is one more"),
                helps=("repeat less often",),
            )


def _exceeded(
    report: Reporter, message: str, label: Label, *, helps: tuple[str, ...] = ()
) -> Poisoned:
    return report.fail(
        "OP0212",
        message,
        label,
        notes=("programs are evaluated within a budget, so that every check ends",),
        helps=helps,
    )
