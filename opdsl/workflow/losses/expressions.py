"""Types of the expressions of losses: names, arithmetic, calls of equations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from opdsl.diagnostics import OpError, Span, did_you_mean
from opdsl.elaborate.bind.modules import Module
from opdsl.elaborate.instantiate.names import FileNames
from opdsl.ir.graph import Graph
from opdsl.ir.spaces import VECTOR, Domain
from opdsl.syntax import tree
from opdsl.syntax.unparse import expr as text_of
from opdsl.train.losses import LOSSES
from opdsl.train.losses.expressions.catalogue import ERRORS, OPERATORS, POINTWISE, RAMP, TRUTH
from opdsl.train.losses.expressions.nodes import (
    ArithmeticNode,
    ConcatNode,
    Coordinate,
    Leaf,
    Pointwise,
)
from opdsl.workflow.losses.reporting import problem
from opdsl.workflow.losses.values import (
    FunctionValue,
    NumberValue,
    TermsValue,
    TypedValue,
    WeightValue,
    WordValue,
    channel_of,
    in_words,
    port_value,
    scaled,
    weight_of,
)

WORDS = ("spectral",)  # words that operators know
KNOWN = (*ERRORS, *OPERATORS, *POINTWISE, TRUTH, RAMP)
Arguments = Mapping[str, TypedValue]


@dataclass(slots=True)
class Typing:
    """Types of expressions over the inputs and outputs of a model.

    Attributes:
        graph: the model.
        names: equations and constants of its program; None for a graph without a program.
        steps: whether outputs have steps in time.
        frames: calls of equations around the expression, the outermost first.
        scopes: their arguments and the modules of their equations, the outermost first.
    """

    graph: Graph
    names: FileNames | None = None
    steps: bool = False
    frames: list[Span] = field(default_factory=list)
    scopes: list[tuple[Arguments, Module]] = field(default_factory=list)
    equations: list[tree.Equation] = field(default_factory=list)

    # ------------------------------------------------------------------------- errors

    def fail(
        self,
        code: str,
        message: str,
        span: Span,
        label: str = "",
        *,
        notes: Iterable[str] = (),
        helps: Iterable[str] = (),
    ) -> OpError:
        """Build an error at a place in the expression, to be raised."""
        frames, notes, helps = tuple(self.frames), tuple(notes), tuple(helps)
        return problem(code, message, span, label, frames=frames, notes=notes, helps=helps)

    # -------------------------------------------------------------------- expressions

    def value(self, expr: tree.Expr) -> TypedValue:
        """Return the typed value of an expression.

        Raises:
            OpError: OP0700 to OP0708.
        """
        match expr:
            case tree.Literal(value=int() | float() as number) if not isinstance(number, bool):
                return NumberValue(float(number))
            case tree.Name():
                return self._name(expr)
            case tree.Member():
                return self._component(expr)
            case tree.Index():
                return self._indexed(expr)
            case tree.Sequence(bracket="["):
                return self._list(expr)
            case tree.Unary(sign="-" | "+"):
                return self._signed(expr)
            case tree.Binary(sign="+" | "-" | "*" | "/"):
                return self._binary(expr)
            case tree.Call():
                return self.call(expr)
        notes = ("a loss is made of calls, names, numbers and + - * /",)
        raise self.fail("OP0706", "this has no meaning in a loss", expr.span, notes=notes)

    def function(self, expr: tree.Expr) -> FunctionValue:
        """Return the type of an expression that must be a function.

        Raises:
            OpError: OP0706, it is none.
        """
        value = self.value(expr)
        if isinstance(value, FunctionValue):
            return value
        raise self.fail("OP0706", f"{in_words(value)} where a function is needed", expr.span)

    def number(self, expr: tree.Expr) -> float:
        """Return a number that is known before training.

        Raises:
            OpError: OP0702, it is none.
        """
        value = self.value(expr)
        if isinstance(value, NumberValue):
            return value.value
        raise self.fail("OP0702", f"{in_words(value)} where a number is needed", expr.span)

    def _name(self, expr: tree.Name) -> TypedValue:
        found = self.find(expr.text)
        if found is None:
            raise self._unknown(expr)
        return found

    def find(self, name: str) -> TypedValue | None:
        """Return what a name means: an argument, an output, an input, a number, a coordinate."""
        if self.scopes:
            arguments, module = self.scopes[-1]
            if name in arguments:
                return arguments[name]
            number = self.names.number(module, name) if self.names else None
        else:
            for role, ports in (("output", self.graph.outputs), ("input", self.graph.inputs)):
                port = next((x for x in ports if x.name == name), None)
                if port is not None:
                    return port_value(port, role)  # type: ignore[arg-type]  # one of the roles
            number = self._constant(name)
        if number is not None:
            return NumberValue(number)
        return self._coordinate(name) or (WordValue(name) if name in WORDS else None)

    def _constant(self, name: str) -> float | None:
        """Return the value of a parameter of the model or of a constant of its file."""
        value = self.graph.params.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        return self.names.number(self.names.module, name) if self.names else None

    def _coordinate(self, name: str) -> FunctionValue | None:
        """Return the coordinate of a grid with an axis of this name, an output's before others."""
        ports = [("output", x) for x in self.graph.outputs]
        ports += [("input", x) for x in self.graph.inputs]
        for role, port in ports:
            domain = port.space.domain
            names = [x.name for x in domain.axes] if domain.regular and domain.dims else []
            if name in names:
                like = Leaf(role, port.name)  # type: ignore[arg-type]  # one of the roles
                node = Coordinate(domain.label, names.index(name), like)
                return FunctionValue(node, domain, 1)
        return None

    def _unknown(self, expr: tree.Name) -> OpError:
        name = expr.text
        outputs, inputs = ([x.name for x in y] for y in (self.graph.outputs, self.graph.inputs))
        if name in KNOWN:
            message, usage = f"`{name}` is called with functions", f"write `{name}(u)`"
            return self.fail("OP0700", message, expr.span, helps=(usage,))
        if self.scopes:
            arguments = sorted(self.scopes[-1][0])
            message = f"`{name}` is no argument of the equation and no constant"
            helps = did_you_mean(name, arguments)
            return self.fail("OP0700", message, expr.span, "not found", helps=helps)
        message = f"`{name}` is no output and no input of `{self.graph.name}`"
        listed = f"outputs: {', '.join(outputs)}; inputs: {', '.join(inputs)}"
        helps = did_you_mean(name, [*outputs, *inputs])
        return self.fail("OP0700", message, expr.span, "not found", notes=(listed,), helps=helps)

    def _component(self, expr: tree.Member) -> FunctionValue:
        value = self.function(expr.value)
        name, known = expr.name.text, value.components or ()
        if name not in known:
            message = f"`{text_of(expr.value)}` has no channel `{name}`"
            listed = f"its channels are: {', '.join(known)}" if known else "they have no names"
            helps = did_you_mean(name, known)
            raise self.fail("OP0700", message, expr.name.span, notes=(listed,), helps=helps)
        return channel_of(value, known.index(name))

    def _indexed(self, expr: tree.Index) -> FunctionValue:
        value, index = self.function(expr.value), self.number(expr.index)
        if not index.is_integer() or not 0 <= index < value.channels:
            message = f"`{text_of(expr.value)}` has no channel {index:g}"
            helps = (f"its channels are 0 to {value.channels - 1}",)
            raise self.fail("OP0700", message, expr.index.span, helps=helps)
        return channel_of(value, int(index))

    def _list(self, expr: tree.Sequence) -> FunctionValue:
        values = [self.value(x) for x in expr.items]
        functions = [x for x in values if isinstance(x, FunctionValue)]
        if not functions:
            raise self.fail("OP0706", "a list of channels needs a function in it", expr.span)
        domain = self._common_domain(functions, expr.span)
        parts, channels = [], 0
        for value, item in zip(values, expr.items, strict=True):
            if isinstance(value, FunctionValue) and value.domain == domain:
                channels += value.channels
            elif isinstance(value, NumberValue):
                channels += 1
            else:
                raise self.fail(
                    "OP0706", f"{in_words(value)} as a channel of a function", item.span
                )
            parts.append(value.node)
        return FunctionValue(ConcatNode(tuple(parts)), domain, channels)

    # --------------------------------------------------------------------- arithmetic

    def _signed(self, expr: tree.Unary) -> TypedValue:
        value = self.value(expr.value)
        if expr.sign == "+":
            return value
        match value:
            case NumberValue():
                return NumberValue(-value.value)
            case FunctionValue():
                return value.with_node(Pointwise("-", value.node))
            case TermsValue():
                return scaled(value, -1.0, ())
        raise self.fail("OP0706", f"minus {in_words(value)}", expr.span)

    def _binary(self, expr: tree.Binary) -> TypedValue:
        left, right, sign = self.value(expr.left), self.value(expr.right), expr.sign
        match left, right:
            case (FunctionValue() | NumberValue(), NumberValue(0)) if sign == "/":
                raise self.fail("OP0702", "a division by zero", expr.span)
            case NumberValue(), NumberValue():
                return self._constant_result(expr, left.value, right.value)
            case TermsValue(), TermsValue() if sign in "+-":
                other = right if sign == "+" else scaled(right, -1.0, ())
                return TermsValue(left.terms + other.terms)
            case (TermsValue(), NumberValue() | WeightValue()) if sign in "*/":
                return self._weighted(expr, left, right, divide=sign == "/")
            case (NumberValue() | WeightValue(), TermsValue()) if sign == "*":
                return self._weighted(expr, right, left, divide=False)
            case (NumberValue() | WeightValue(), NumberValue() | WeightValue()) if sign == "*":
                (a, first), (b, second) = weight_of(left), weight_of(right)
                return WeightValue(a * b, first + second)
            case (FunctionValue(), FunctionValue() | NumberValue()) | (
                NumberValue(),
                FunctionValue(),
            ):
                return self._function(expr, left, right)  # type: ignore[arg-type]  # as matched
        message = f"`{sign}` between {in_words(left)} and {in_words(right)}"
        notes = ("a loss is a sum of errors, each with a number as its weight",)
        raise self.fail("OP0706", message, expr.sign_span, notes=notes)

    def _constant_result(self, expr: tree.Binary, a: float, b: float) -> NumberValue:
        results = {"+": a + b, "-": a - b, "*": a * b}
        return NumberValue(a / b if expr.sign == "/" else results[expr.sign])

    def _weighted(
        self,
        expr: tree.Binary,
        terms: TermsValue,
        weight: NumberValue | WeightValue,
        *,
        divide: bool,
    ) -> TermsValue:
        factor, ramps = weight_of(weight)
        if not divide:
            return scaled(terms, factor, ramps)
        if ramps or factor == 0:
            raise self.fail("OP0702", "a loss is divided by a number other than 0", expr.right.span)
        return scaled(terms, 1 / factor, ())

    def _function(
        self,
        expr: tree.Binary,
        left: FunctionValue | NumberValue,
        right: FunctionValue | NumberValue,
    ) -> FunctionValue:
        functions = [x for x in (left, right) if isinstance(x, FunctionValue)]
        domain = self._common_domain(functions, expr.span)
        channels = self._common_channels(functions, expr.span)
        names = [x.components for x in functions if x.channels == channels]
        node = ArithmeticNode(expr.sign, left.node, right.node)
        return FunctionValue(node, domain, channels, names[0])

    def _common_domain(self, functions: list[FunctionValue], span: Span) -> Domain:
        """Return the domain of functions; vectors are constant on it."""
        domains = [x.domain for x in functions if not x.is_vector]
        for other in domains[1:]:
            if other != domains[0]:
                message = f"functions on `{domains[0]}` and on `{other}`"
                helps = ("functions that are combined live on one domain",)
                raise self.fail("OP0705", message, span, helps=helps)
        return domains[0] if domains else VECTOR

    def _common_channels(self, functions: list[FunctionValue], span: Span) -> int:
        counts = [x.channels for x in functions]
        most = max(counts)
        if any(x not in (1, most) for x in counts):
            message = f"functions with {' and '.join(str(x) for x in counts)} channels"
            helps = ("as many channels on both sides, or one on one of them", "`u[0]` is a channel")
            raise self.fail("OP0705", message, span, helps=helps)
        return most

    def same_shape(self, first: FunctionValue, other: FunctionValue, span: Span) -> None:
        """Refuse functions that cannot be compared.

        Raises:
            OpError: OP0705, their domains or channels differ.
        """
        self._common_domain([first, other], span)
        self._common_channels([first, other], span)

    # -------------------------------------------------------------------------- calls

    def call(self, expr: tree.Call) -> TypedValue:
        """Return the type of a call: an error, an operator, a function, an equation."""
        from opdsl.workflow.losses.calls import called, equation_of, pointwise, ramp, truth
        from opdsl.workflow.losses.errors import error
        from opdsl.workflow.losses.operators import operator

        name = expr.name
        if name in ERRORS:
            return error(self, expr, name)
        if name in OPERATORS:
            return operator(self, expr, name)
        if name in POINTWISE:
            return pointwise(self, expr, name)
        if name == TRUTH:
            return truth(self, expr)
        if name == RAMP:
            return ramp(self, expr)
        if (equation := equation_of(self, expr)) is not None:
            return called(self, expr, *equation)
        if len(expr.path) == 1 and name not in LOSSES.names() and LOSSES.find(name):
            return error(self, expr, name)
        raise self._no_function(expr)

    def _no_function(self, expr: tree.Call) -> OpError:
        module = self.scopes[-1][1] if self.scopes else self.names and self.names.module
        own = list(module.equations) if module else []
        from opdsl.workflow.losses.calls import library_equations

        message = f"a loss has no function `{expr.name}`"
        helps = did_you_mean(expr.name, [*KNOWN, *own])
        if not helps and self.names and expr.name in library_equations():
            helps = (f"import it: `from std.physics import {expr.name}`",)
        return self.fail("OP0701", message, expr.head, "not found", helps=helps)

    def plain_arguments(self, expr: tree.Call, count: int, usage: str) -> list[tree.Expr]:
        """Return the arguments of a call without a name, which must be so many.

        Raises:
            OpError: OP0702.
        """
        plain = [x.value for x in expr.args if x.name is None]
        if len(plain) != count:
            message = f"`{expr.name}` takes {count} argument{'s' if count > 1 else ''} without "
            message += f"a name, not {len(plain)}"
            raise self.fail("OP0702", message, expr.span, helps=(f"write `{usage}`",))
        return plain

    def options(self, expr: tree.Call, known: Iterable[str]) -> dict[str, tree.Expr]:
        """Return the arguments of a call with a name.

        Raises:
            OpError: OP0702, an unknown option, or one that is set twice.
        """
        options: dict[str, tree.Expr] = {}
        known = tuple(known)
        for arg in expr.args:
            if arg.name is None:
                continue
            if arg.name.text not in known or arg.sign == ":":
                message = f"`{expr.name}` has no option `{arg.name.text}`"
                listed = (f"its options are: {', '.join(known)}",) if known else ()
                helps = did_you_mean(arg.name.text, known)
                raise self.fail("OP0702", message, arg.name.span, notes=listed, helps=helps)
            if arg.name.text in options:
                message = f"`{arg.name.text}` is given twice"
                raise self.fail("OP0702", message, arg.name.span)
            options[arg.name.text] = arg.value
        return options
