"""Chains: `v |> f() |> repeat n { ... } |> residual { ... }`."""

from __future__ import annotations

from opdsl.diagnostics import Label, Span
from opdsl.elaborate.bind.scope import NameScope
from opdsl.elaborate.evaluate.budget import CHAIN
from opdsl.elaborate.evaluate.budget import SCOPE as SCOPE_STEPS
from opdsl.elaborate.evaluate.expressions import evaluate
from opdsl.elaborate.evaluate.faults import unknown_name
from opdsl.elaborate.evaluate.values import Argument, Function, Value, Word, describe
from opdsl.elaborate.instantiate.calls import call
from opdsl.elaborate.instantiate.place import Place
from opdsl.elaborate.instantiate.primitives import primitive
from opdsl.ir.combine_rules import count as channels
from opdsl.ir.dims import Poly
from opdsl.syntax import tree

MAX_REPEAT = 10_000
OPEN_COUNT = 2  # iterations to check where a definition leaves the number of them open


def pipe(place: Place, expr: tree.Pipe) -> Value:
    """Evaluate a chain from its head on; nodes go below `place`.

    Raises:
        Poisoned: after a diagnostic.
    """
    value = evaluate(place.scope, expr.head, place)
    return _stages(place, expr.stages, value, expr.head.span)


def _stages(place: Place, stages: tuple[tree.Stage, ...], value: Value, span: Span) -> Value:
    """Evaluate the stages; `span` is where the value was computed."""
    scope = place.scope
    for stage in stages:
        scope.budget.step(scope, stage.span)
        function = _function(scope, value, span)
        match stage:
            case tree.Call():
                value = call(place, stage, Argument(function, span, span))
            case tree.Repeat():
                value = _repeat(place, stage, function, span)
            case tree.Residual():
                value = _residual(place, stage, function, span)
        span = stage.span
    return value


def _function(scope: NameScope, value: Value, span: Span) -> Function:
    if isinstance(value, Function):
        return value
    if isinstance(value, Word):
        raise unknown_name(scope, value, span)
    raise scope.fail(
        "OP0209",
        "only a function goes through `|>`",
        Label(span, f"this is {describe(value)}"),
    )


# ------------------------------------------------------------------------- repeats


def _repeat(place: Place, stage: tree.Repeat, first: Function, span: Span) -> Value:
    scope, builder = place.scope, place.builder
    count = _count(scope, stage)
    path = place.claim("repeat")
    title = "repeat shared" if stage.shared else "repeat"
    builder.scope(path, "repeat", title, span=stage.span, count=count, shared=stage.shared)
    value: Value = first
    saved = dict(scope.locals)
    begin = len(builder.nodes)
    with scope.budget.inside(scope, stage.head, CHAIN):
        for i in range(count):
            scope.budget.step(scope, stage.head, SCOPE_STEPS)
            if stage.index:
                scope.locals = saved | {stage.index.text: i}
            iteration = f"{path}.{i}"
            builder.scope(iteration, "iteration", str(i), span=stage.span, shared=stage.shared)
            value = _stages(place.below(iteration), stage.body.stages, value, span)
            span = stage.span
            if stage.shared:
                _check_endomorphism(scope, stage, first, value)
    scope.locals = saved
    if stage.shared:
        _share_weights(place, stage, path, begin)
    return value


def _check_endomorphism(
    scope: NameScope, stage: tree.Repeat, first: Function, value: Value
) -> None:
    """Check that shared weights can be applied again: an iteration keeps the space, else OP0306."""
    last = stage.body.stages[-1].span
    a, b = first.space, _function(scope, value, last).space
    if (a.domain, a.channels, a.field) == (b.domain, b.channels, b.field):
        return
    raise scope.fail(
        "OP0306",
        "a repeat with shared weights must end in the space in which it begins",
        Label(stage.head, f"`{a}` comes in"),
        Label(last, f"leaves as `{b}`"),
        notes=("the same weights take the result of the iteration before",),
        helps=(f"end the chain with `linear(out = {a.channels})`",)
        if a.domain == b.domain and a.channels != b.channels
        else ("leave out `shared`: each iteration gets its own weights",),
    )


def _share_weights(place: Place, stage: tree.Repeat, path: str, begin: int) -> None:
    """Give the nodes of later iterations the weights of the first one."""
    differs = place.builder.share(path, begin)
    if differs is None:
        return
    raise place.scope.fail(
        "OP0306",
        "a repeat with shared weights must do the same in each iteration",
        Label(stage.head, f"`{differs}` is another operation later"),
        helps=(f"do not use `{stage.index.text}` inside",) if stage.index else (),
    )


def _count(scope: NameScope, stage: tree.Repeat) -> int:
    value = evaluate(scope, stage.count)
    if isinstance(value, Word):
        raise unknown_name(scope, value, stage.count.span)
    if isinstance(value, Poly):
        return OPEN_COUNT
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_REPEAT:
        return value
    raise scope.fail(
        "OP0208",
        f"a repeat takes a whole number from 0 to {MAX_REPEAT}",
        Label(stage.count.span, f"this is {describe(value)}"),
    )


# ----------------------------------------------------------------------- residuals


def _residual(place: Place, stage: tree.Residual, value: Function, span: Span) -> Value:
    scope, builder = place.scope, place.builder
    path = place.claim("residual")
    scope.budget.step(scope, stage.head, SCOPE_STEPS)
    builder.scope(path, "residual", "residual", span=stage.span)
    with scope.budget.inside(scope, stage.head, CHAIN):
        result = _stages(place.below(path), stage.body.stages, value, span)
    last = stage.body.stages[-1].span
    branch = _function(scope, result, last)
    _check_residual(scope, stage, value, branch, last)
    operands = (Argument(value, stage.head, stage.head), Argument(branch, last, last))
    sum_path = builder.claim(f"{path}.add")
    return primitive(place, "add", operands, {}, (stage.head, stage.span), sum_path)


def _check_residual(
    scope: NameScope, stage: tree.Residual, value: Function, branch: Function, last: Span
) -> None:
    a, b = value.space, branch.space
    labels = (Label(stage.head, f"enters as `{a}`"), Label(last, f"leaves as `{b}`"))
    if a.domain != b.domain:
        raise scope.fail(
            "OP0304",
            f"`residual` adds functions on different domains: `{a.domain}` and `{b.domain}`",
            *labels,
            helps=(f"end the branch with `resample(to = {a.domain})`",)
            if a.domain.name == b.domain.name
            else (),
        )
    if a.field != b.field:
        raise scope.fail("OP0312", "`residual` adds real and complex functions", *labels)
    if a.channels != b.channels:
        raise scope.fail(
            "OP0303",
            f"`residual` adds its input ({channels(a.channels)}) to its result "
            f"({channels(b.channels)})",
            *labels,
            helps=(f"end the branch with `linear(out = {a.channels})`",),
        )
