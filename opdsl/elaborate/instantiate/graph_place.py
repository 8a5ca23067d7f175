"""Places in the graph, where bindings are evaluated and their expressions add nodes."""

from __future__ import annotations

from opdsl.diagnostics import Label, Span
from opdsl.elaborate.bind.outputs import check_annotation
from opdsl.elaborate.bind.scope import NameScope
from opdsl.elaborate.bind.words import unknown_word
from opdsl.elaborate.evaluate.budget import SCOPE
from opdsl.elaborate.evaluate.expressions import NODE_NAMES, evaluate
from opdsl.elaborate.evaluate.faults import not_defined, unknown_name
from opdsl.elaborate.evaluate.limits import LEAVES
from opdsl.elaborate.evaluate.values import Argument, Function, Interval, Value, Word, describe
from opdsl.elaborate.instantiate.builder import GraphBuilder
from opdsl.elaborate.instantiate.calls import call
from opdsl.elaborate.instantiate.chains import pipe
from opdsl.elaborate.instantiate.primitives import primitive
from opdsl.records import record
from opdsl.syntax import tree


@record
class Bindings:
    """Evaluates bindings; their nodes go to `builder`."""

    builder: GraphBuilder

    def compute(self, scope: NameScope, statement: tree.Bind) -> tuple[Value, ...]:
        """Evaluate a binding to one value for each of its names.

        Raises:
            Poisoned: after a diagnostic.
        """
        name = statement.names[0].text
        path = f"{scope.path}.{name}" if scope.path else name
        scope.budget.step(scope, statement.span, SCOPE)
        chained = isinstance(statement.value, tree.Pipe)
        if chained:
            self.builder.scope(path, "binding", name, span=statement.span)
        place = GraphPlace(scope, self.builder, path, exact=not chained)
        value = evaluate(scope, statement.value, place)
        check_annotation(scope, statement, value)
        _check_words(scope, statement, value)
        if len(statement.names) == 1:
            return (value,)
        if not isinstance(value, tuple) or len(value) != len(statement.names):
            raise scope.fail(
                "OP0206",
                f"{len(statement.names)} names for "
                + (f"{len(value)} values" if isinstance(value, tuple) else "one value"),
                Label(statement.value.span, f"this is {describe(value)}"),
            )
        return value


def _check_words(scope: NameScope, statement: tree.Bind, value: Value) -> None:
    if not isinstance(value, Word | tuple):
        return
    for name in statement.names:
        word = unknown_word(scope, name.text, value, scope.definition)
        if word is not None:
            raise unknown_name(scope, word, statement.value.span)


@record
class GraphPlace:
    """A place whose next node gets `path` itself (`exact`), or a name of its own below it."""

    scope: NameScope
    builder: GraphBuilder
    path: str
    exact: bool = False

    def below(self, path: str | None = None) -> GraphPlace:
        """Return the place for nodes inside of `path`, or inside of this place."""
        return GraphPlace(self.scope, self.builder, self.path if path is None else path)

    def claim(self, name: str) -> str:
        """Reserve a free path for a node or scope called `name`."""
        if self.exact:
            return self.builder.claim(self.path)
        return self.builder.claim(f"{self.path}.{name}" if self.path else name)

    def release(self, path: str) -> None:
        """Free a reserved path again."""
        self.builder.release(path)

    def call(self, expr: tree.Call) -> Value:
        """Evaluate a call of a block."""
        return call(self, expr, None)

    def pipe(self, expr: tree.Pipe) -> Value:
        """Evaluate a chain."""
        return pipe(self.below(), expr)

    def select(self, expr: tree.Index, function: Function, index: Value) -> Value:
        """Choose channels of a function."""
        argument = Argument(function, expr.value.span, expr.value.span)
        channels = self._channels(index, expr.index.span)
        named = {"channels": Argument(channels, expr.index.span, expr.index.span)}
        path, head = self.claim("select"), expr.index.span
        return primitive(self, "select", (argument,), named, (head, expr.span), path)

    def _channels(self, index: Value, span: Span) -> Value:
        """Expand an index to channels: `2..4` is the channels 2 and 3."""
        if not isinstance(index, Interval):
            return index if isinstance(index, tuple) else (index,)
        if not (index.lo.is_integer() and index.hi.is_integer()):
            return (index,)
        # a range beyond the limit is cut just above it: enough for the budget to refuse it
        channels = tuple(range(int(index.lo), int(index.hi))[: LEAVES + 1])
        self.scope.budget.value(self.scope, channels, span)
        return channels

    def negate(self, expr: tree.Unary, function: Function) -> Value:
        """Multiply a function by -1."""
        argument = Argument(function, expr.value.span, expr.value.span)
        return self._scaled(expr.span, argument, -1.0, self.claim("scale"))

    def combine(self, expr: tree.Binary, left: Value, right: Value, path: str) -> Value:
        """Apply `+`, `-`, `*` or `/` where at least one operand is a function."""
        a = Argument(left, expr.left.span, expr.sign_span)
        b = Argument(right, expr.right.span, expr.sign_span)
        functions = isinstance(left, Function), isinstance(right, Function)
        if all(functions) and expr.sign in NODE_NAMES:
            keyword = NODE_NAMES[expr.sign]
            return primitive(self, keyword, (a, b), {}, (expr.sign_span, expr.span), path)
        if functions[0] and expr.sign == "*" and (factor := _factor(right)):
            return self._scaled(expr.span, a, factor, path)
        if functions[1] and expr.sign == "*" and (factor := _factor(left)):
            return self._scaled(expr.span, b, factor, path)
        if functions[0] and expr.sign == "/" and (divisor := _factor(right)):
            return self._scaled(expr.span, a, 1 / divisor, path)
        spans = (expr.left.span, expr.right.span)
        raise not_defined(self.scope, expr.sign_span, expr.sign, (left, right), spans)

    def _scaled(self, span: Span, argument: Argument, factor: float, path: str) -> Value:
        named = {"factor": Argument(factor, span, span)}
        return primitive(self, "scale", (argument,), named, (span, span), path)


def _factor(value: Value) -> float:
    """Return the value as a number, or 0 if it is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
