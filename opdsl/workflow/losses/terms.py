"""The loss and the metrics of a run as typed terms, checked against its model. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from opdsl.diagnostics import OpError, Source, fault
from opdsl.elaborate.bind.settings import train_block
from opdsl.elaborate.instantiate.names import FileNames
from opdsl.ir.graph import Graph
from opdsl.syntax import tree
from opdsl.syntax.parser import parse, parse_expr
from opdsl.syntax.unparse import expr as text_of
from opdsl.train.config.loss_section import EXAMPLE, function_name, is_registered
from opdsl.train.config.schema import Settings
from opdsl.train.losses.expressions.catalogue import RAMP
from opdsl.train.losses.expressions.nodes import WeightedTerm, depends_on_outputs
from opdsl.workflow.losses.expressions import Typing
from opdsl.workflow.losses.reporting import problem
from opdsl.workflow.losses.values import TermsValue

LossTerms = tuple[WeightedTerm, ...]


@dataclass(frozen=True, slots=True)
class TypedLosses:
    """The loss and the metrics of a run.

    Attributes:
        loss: the terms of an expression; None for a loss that is set by its name or a function of
            Python.
        metrics: the terms of each metric, by its text.
    """

    loss: LossTerms | None
    metrics: Mapping[str, LossTerms]


def typed_losses(
    graph: Graph, settings: Settings, file: tree.File | None = None, folder: Path | None = None
) -> TypedLosses:
    """Check the loss and the metrics of a run against its model.

    Args:
        graph: the model.
        settings: of the run.
        file: the program, for equations, constants and places of errors; None for a bare graph.
        folder: where its imports are.

    Raises:
        OpError: OP0700 to OP0708, what is wrong with an expression; OP0101 to OP0106, a text that
            is no expression.
    """
    loss, metrics = settings.loss, settings.eval.metrics
    needs_names = bool(metrics) or not (is_registered(loss) or function_name(loss))
    names = FileNames.of(file, folder) if file is not None and needs_names else None
    typing = Typing(graph, names, steps=settings.rollout is not None)
    errors: list[OpError] = []
    terms: LossTerms | None = None
    if function_name(loss) is None and not is_registered(loss):
        try:
            terms = _terms(typing, _tree(loss, ("loss",), graph, file), "loss")
        except OpError as error:
            errors.append(error)
    typed: dict[str, LossTerms] = {}
    for text in metrics:
        try:
            typed[text] = _terms(typing, _tree(text, ("eval", "metrics"), graph, file), "metric")
        except OpError as error:
            errors.append(error)
    if errors:
        raise OpError(*(y for x in errors for y in x.diagnostics))
    return TypedLosses(terms, typed)


def check_loss(program: str, loss: str, *, folder: Path | None = None) -> LossTerms:
    """Check the text of a loss against the model of a program.

    Args:
        program: the text of a program with one model.
        loss: the expression.
        folder: where its imports are.

    Raises:
        OpError: what is wrong with the program or the loss.
    """
    from opdsl.compiler import check

    source = Source("<text>", program)
    graph = check(source, folder=folder).sound()
    settings = Settings(loss=loss)
    typed = typed_losses(graph, settings, parse(source)[0], folder)
    return typed.loss or ()


def check_equations(file: tree.File, graph: Graph, folder: Path | None) -> list[OpError]:
    """Return what is wrong with the equations of a file, whatever they are called with."""
    from opdsl.workflow.losses.definitions import equation_errors

    return list(equation_errors(file, graph, FileNames.of(file, folder)))


def _terms(typing: Typing, expr: tree.Expr, what: str) -> LossTerms:
    if isinstance(expr, tree.Name):
        return _of_all_outputs(typing, expr)
    value = typing.value(expr)
    if isinstance(value, TermsValue):
        if what == "loss":
            _refuse_constant(value.terms, expr)
        else:
            _refuse_ramps(value.terms, expr)
        return _distinct(value.terms)
    message = f"the {what} is no sum of errors"
    helps = (f"compare functions by an error: `{EXAMPLE}`, `mse({text_of(expr)})`",)
    raise problem("OP0706", message, expr.span, helps=helps)


def _refuse_constant(terms: LossTerms, expr: tree.Expr) -> None:
    """Refuse terms that no prediction changes, since training cannot lower them."""
    for term in terms:
        error = term.error
        functions = (error.value, error.target, *error.functions.values())
        if not any(depends_on_outputs(x) for x in functions):
            message = f"`{term.text}` depends on no output, so that training cannot change it"
            helps = ("compare an output of the model, or leave the term out",)
            raise problem("OP0706", message, expr.span, helps=helps)


def _refuse_ramps(terms: LossTerms, expr: tree.Expr) -> None:
    """Refuse weights of a metric that change from epoch to epoch, which no longer compares them."""
    if any(term.ramps for term in terms):
        message = "a metric has constant weights, so that its values can be compared"
        helps = (f"leave `{RAMP}` out, or write it in `loss`",)
        raise problem("OP0706", message, expr.span, helps=helps)


def _of_all_outputs(typing: Typing, expr: tree.Name) -> LossTerms:
    """Return the mean of an error over all outputs: `loss = mse`."""
    outputs = [x.name for x in typing.graph.outputs]
    terms: LossTerms = ()
    for name in outputs:
        ident = tree.Ident(expr.text, expr.span)
        arg = tree.Arg(None, "", tree.Name(name, expr.span), expr.span)
        value = typing.value(tree.Call((ident,), (arg,), expr.span))
        assert isinstance(value, TermsValue)  # the settings accept names of errors only
        terms += value.terms
    return tuple(replace(x, weight=1 / len(outputs)) for x in terms)


def _distinct(terms: LossTerms) -> LossTerms:
    """Number the texts of equal terms, since weights and logs are by text."""
    texts: dict[str, int] = {}
    result = []
    for term in terms:
        texts[term.text] = count = texts.get(term.text, 0) + 1
        result.append(term if count == 1 else replace(term, text=f"{term.text} #{count}"))
    return tuple(result)


# ------------------------------------------------------------------------------ places


def _tree(text: str, path: tuple[str, ...], graph: Graph, file: tree.File | None) -> tree.Expr:
    """Return the tree of an expression, with its place in the program if it stands there."""
    block = None if file is None else train_block(file, graph.name)
    for candidate in _candidates(block, path):
        if text_of(candidate) == text:
            return candidate
    return parse_expr(Source(f"<{'.'.join(path)}>", text))


def _candidates(block: tree.Train | None, path: tuple[str, ...]) -> list[tree.Expr]:
    body: tuple[tree.Setting | tree.SettingBlock, ...] = block.body if block else ()
    for name in path[:-1]:
        blocks = [x for x in body if isinstance(x, tree.SettingBlock) and x.name.text == name]
        body = tuple(y for x in blocks for y in x.body)
    values = [x.value for x in body if isinstance(x, tree.Setting) and x.name.text == path[-1]]
    return [y for x in values for y in (x.items if isinstance(x, tree.Sequence) else (x,))]


def missing_function(name: str) -> OpError:
    """Build the error of a run whose loss is a function of Python that was not passed."""
    message = f"the loss of this run is the function `{name}` of Python"
    helps = (f"pass it: `opdsl.train(..., loss={name})` or `opdsl.resume(run, loss={name})`",)
    return fault("OP0709", message, helps=helps, file="loss")
