"""From the concrete syntax tree to the abstract one: one method for each rule of the grammar.

A text that the grammar accepts may still be wrong (a number too large, an expression too deep);
that raises `OpError`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from opdsl.diagnostics import Label, Source, Span, fault
from opdsl.syntax import tree as t
from opdsl.syntax.concrete import DEPTH, Kids, after, is_token, is_tree, subtrees, too_deep
from opdsl.syntax.lalr import ParseNode, Token

NAME_LENGTH = 256
DIGITS = 4300  # beyond this, Python refuses to read an integer
ESCAPES = {'"': '"', "\\": "\\", "n": "\n", "t": "\t"}


class TreeBuilder:
    """Builds the nodes of one text."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.depth = 0

    def file(self, node: ParseNode) -> tuple[t.Edition | None, tuple[t.Item, ...]]:
        """Build the edition and the items of a program."""
        items = [self._build(x) for x in node.children]
        edition = items.pop(0) if items and isinstance(items[0], t.Edition) else None
        return edition, tuple(items)

    def expr(self, node: ParseNode) -> t.Expr:
        """Build any expression, pipes included."""
        self.depth += 1
        if self.depth > DEPTH:
            raise too_deep(self.span(node))
        built: t.Expr = getattr(self, f"_{node.rule}")(node)
        self.depth -= 1
        return built

    def _build(self, node: ParseNode) -> Any:
        """Build the node of a rule, by the method that has its name."""
        return getattr(self, f"_{node.rule}")(node)

    # ---------------------------------------------------------------- items

    def _edition(self, node: ParseNode) -> t.Edition:
        return t.Edition(self._integer(node.children[1]), self.span(node))

    def _import_module(self, node: ParseNode) -> t.Import:
        path, file = self._source(node.children[1])
        alias = after(node.children, "AS")
        place = self.span(node.children[1])
        return t.Import(path, file, (), alias and self._ident(alias), place, self.span(node))

    def _import_names(self, node: ParseNode) -> t.Import:
        path, file = self._source(node.children[1])
        names = self._names(node.children[3:])
        return t.Import(path, file, names, None, self.span(node.children[1]), self.span(node))

    def _source(self, node: Any) -> tuple[tuple[t.Ident, ...], str | None]:
        if isinstance(node, Token):
            return (), self._text(node)
        return self._names(node.children), None

    def _const(self, node: ParseNode) -> t.Const:
        kids = node.children
        return t.Const(self._ident(kids[1]), self.expr(kids[3]), self._doc(kids), self.span(node))

    def _equation(self, node: ParseNode) -> t.Equation:
        kids = node.children
        args = tuple(self._equation_arg(x) for x in kids if is_tree(x, "equation_arg"))
        sign = next(i for i, x in enumerate(kids) if is_token(x, "EQUAL"))
        name, value, doc = self._ident(kids[1]), self.expr(kids[sign + 1]), self._doc(kids)
        return t.Equation(name, args, value, doc, self.span(node))

    def _equation_arg(self, node: ParseNode) -> t.EquationArg:
        kids = node.children
        return t.EquationArg(self._ident(kids[0]), self._value(kids), self.span(node))

    def _block(self, node: ParseNode) -> t.Definition:
        return self._definition("block", node)

    def _model(self, node: ParseNode) -> t.Definition:
        return self._definition("model", node)

    def _definition(self, keyword: str, node: ParseNode) -> t.Definition:
        name, doc, body = self._braced(node)
        return t.Definition(keyword, name, doc, tuple(body), self.span(node))

    def _train(self, node: ParseNode) -> t.Train:
        name, doc, body = self._braced(node)
        return t.Train(name, doc, tuple(body), self.span(node))

    def _braced(self, node: ParseNode) -> tuple[t.Ident, t.Doc | None, Iterator[Any]]:
        """Split `keyword NAME [doc] "{" part* "}"` into its parts."""
        kids = node.children
        parts = [x for x in kids[2:] if not isinstance(x, Token)]
        doc = self._doc(parts[:1]) if parts else None
        body = (self._build(x) for x in parts[doc is not None :])
        return self._ident(kids[1]), doc, body

    # ----------------------------------------------------------- statements

    def _domain(self, node: ParseNode) -> t.Domain:
        kids = node.children
        name, kind = self._ident(kids[1]), self._kind(kids[3])
        return t.Domain(name, kind, self._value(kids), self._doc(kids), self.span(node))

    def _domain_value(self, node: ParseNode) -> t.Domain:
        kids = node.children
        name, doc = self._ident(kids[1]), self._doc(kids)
        return t.Domain(name, None, self._value(kids), doc, self.span(node))

    def _dim(self, node: ParseNode) -> t.Dim:
        kids = node.children
        return t.Dim(self._ident(kids[1]), self._value(kids), self._doc(kids), self.span(node))

    def _param(self, node: ParseNode) -> t.Param:
        kids = node.children
        name, kind = self._ident(kids[1]), self._alternatives(kids[3])
        return t.Param(name, kind, self._value(kids), self._doc(kids), self.span(node))

    def _input(self, node: ParseNode) -> t.Input:
        return t.Input(*self._port(node.children), self.span(node))

    def _output(self, node: ParseNode) -> t.Output:
        return t.Output(*self._port(node.children), self.span(node))

    def _port(self, kids: Kids) -> tuple[t.Ident, t.TypeExpr, t.Arg | None, t.Doc | None]:
        """Build name, type, ends and doc string of an input or output."""
        ends = next((self._port_ends(x) for x in kids if is_tree(x, "port_ends")), None)
        return self._ident(kids[1]), self._type(kids[3]), ends, self._doc(kids)

    def _port_ends(self, node: ParseNode) -> t.Arg:
        _, name, _, value = node.children
        return t.Arg(self._ident(name), "=", self.expr(value), self.span(node))

    def _require(self, node: ParseNode) -> t.Require:
        kids = node.children
        return t.Require(self.expr(kids[1]), self._doc(kids), self.span(node))

    def _feedback(self, node: ParseNode) -> t.Feedback:
        _, output, _, entry = node.children
        return t.Feedback(self._ident(output), self._ident(entry), self.span(node))

    def _bind(self, node: ParseNode) -> t.Bind:
        kids = node.children
        return t.Bind(self._names(kids), None, self.expr(kids[-1]), self.span(node))

    def _bind_typed(self, node: ParseNode) -> t.Bind:
        name, _, space, _, value = node.children
        type_ = self._type(space)
        return t.Bind((self._ident(name),), type_, self.expr(value), self.span(node))

    def _setting(self, node: ParseNode) -> t.Setting:
        name, _, value = node.children
        return t.Setting(self._ident(name), self.expr(value), self.span(node))

    def _setting_block(self, node: ParseNode) -> t.SettingBlock:
        kids = node.children
        names = self._names(kids)
        kind = names[1] if len(names) > 1 else None
        body = tuple(self._build(x) for x in kids if not isinstance(x, Token))
        return t.SettingBlock(names[0], kind, body, self.span(node))

    # ---------------------------------------------------------------- types

    def _kind(self, node: ParseNode) -> t.DomainKind:
        kids = node.children
        return t.DomainKind(self._ident(kids[0]), self._args(kids), self.span(node))

    def _alternatives(self, node: ParseNode) -> tuple[t.ParamType, ...]:
        return tuple(self._param_type(x) for x in subtrees(node))

    def _param_type(self, node: ParseNode) -> t.ParamType:
        self.depth += 1
        if self.depth > DEPTH:
            raise too_deep(self.span(node))
        args = tuple(self._alternatives(x) for x in subtrees(node))
        self.depth -= 1
        return t.ParamType(self._ident(node.children[0]), args, self.span(node))

    def _type(self, node: ParseNode) -> t.TypeExpr:
        kids = node.children
        domain = self.expr(kids[0]) if len(kids) > 1 else None
        return t.TypeExpr(domain, self._codomain(kids[-1]), self.span(node))

    def _codomain(self, node: ParseNode) -> t.Codomain:
        field = self._ident(node.children[0])
        spec = node.children[-1]
        channels: t.Expr | None = None
        names: tuple[t.Ident, ...] | None = None
        match spec:
            case ParseNode(rule="chan_names"):
                names = self._names(spec.children)
            case ParseNode(rule="chan_name"):
                channels = self._name(spec.children[0])
            case ParseNode(rule="chan_expr"):
                channels = self.expr(spec.children[1])
            case ParseNode():
                channels = self.expr(spec)
        return t.Codomain(field, channels, names, self.span(node))

    # ---------------------------------------------------------- expressions

    def _pipe_to(self, node: ParseNode) -> t.Pipe:
        head, *rest = subtrees(node)
        first = self.expr(head)
        stages = tuple(self._build(x) for x in rest)
        if isinstance(first, t.Pipe):  # (a |> f()) |> g() is a |> f() |> g()
            return t.Pipe(first.head, first.stages + stages, self.span(node))
        return t.Pipe(first, stages, self.span(node))

    def _call(self, node: ParseNode) -> t.Call:
        path, *_ = node.children
        return t.Call(self._names(path.children), self._args(node.children), self.span(node))

    _stage_call = _call

    def _repeat(self, node: ParseNode) -> t.Repeat:
        kids = node.children
        count, chain = subtrees(node)
        index = after(kids, "AS")
        brace = next(i for i, x in enumerate(kids) if is_token(x, "LBRACE"))
        head = self.span(kids[0]).cover(self.span(kids[brace - 1]))
        return t.Repeat(
            self.expr(count),
            index and self._ident(index),
            any(is_token(x, "SHARED") for x in kids),
            self._chain(chain),
            self.span(node),
            head,
        )

    def _residual(self, node: ParseNode) -> t.Residual:
        kids = node.children
        return t.Residual(self._chain(kids[2]), self.span(node), self.span(kids[0]))

    def _chain(self, node: ParseNode) -> t.Chain:
        self.depth += 1
        if self.depth > DEPTH:
            raise too_deep(self.span(node))
        stages = tuple(self._build(x) for x in subtrees(node))
        self.depth -= 1
        return t.Chain(stages, self.span(node))

    def _if_expr(self, node: ParseNode) -> t.If:
        test, yes, no = subtrees(node)
        return t.If(self.expr(test), self.expr(yes), self.expr(no), self.span(node))

    def _binary(self, node: ParseNode) -> t.Binary:
        left, sign, right = node.children
        a, b = self.expr(left), self.expr(right)
        return t.Binary(sign.text, a, b, self.span(node), self.span(sign))

    def _unary(self, node: ParseNode) -> t.Unary:
        sign, value = node.children
        return t.Unary(sign.text, self.expr(value), self.span(node), self.span(sign))

    def _member(self, node: ParseNode) -> t.Member:
        value, _, name = node.children
        return t.Member(self.expr(value), self._ident(name), self.span(node))

    def _index(self, node: ParseNode) -> t.Index:
        value, _, index, _ = node.children
        return t.Index(self.expr(value), self.expr(index), self.span(node))

    def _path(self, node: ParseNode) -> t.Name | t.Member:
        first, *rest = (self._ident(x) for x in node.children if x.kind == "NAME")
        path: t.Name | t.Member = t.Name(first.text, first.span)
        for x in rest:
            self._deep(len(rest), node)
            path = t.Member(path, x, first.span.cover(x.span))
        return path

    def _deep(self, more: int, node: ParseNode) -> None:
        if self.depth + more > DEPTH:
            raise too_deep(self.span(node))

    def _group(self, node: ParseNode) -> t.Expr:
        return self.expr(node.children[1])

    def _tuple(self, node: ParseNode) -> t.Sequence:
        return t.Sequence("(", tuple(self.expr(x) for x in subtrees(node)), self.span(node))

    def _list(self, node: ParseNode) -> t.Sequence:
        return t.Sequence("[", tuple(self.expr(x) for x in subtrees(node)), self.span(node))

    def _int(self, node: ParseNode) -> t.Literal:
        return t.Literal(self._integer(node.children[0]), self.span(node))

    def _float(self, node: ParseNode) -> t.Literal:
        value = float(node.children[0].text)
        if math.isinf(value):
            raise fault(
                "OP0105",
                "this number is too large",
                Label(self.span(node), "larger than 1.8e308"),
            )
        return t.Literal(value, self.span(node))

    def _string(self, node: ParseNode) -> t.Literal:
        return t.Literal(self._text(node.children[0]), self.span(node))

    def _true(self, node: ParseNode) -> t.Literal:
        return t.Literal(True, self.span(node))

    def _false(self, node: ParseNode) -> t.Literal:
        return t.Literal(False, self.span(node))

    def _hole(self, node: ParseNode) -> t.Hole:
        return t.Hole(self.span(node))

    def _kwarg(self, node: ParseNode) -> t.Arg:
        return self._keyed(node, "=")

    def _word(self, node: ParseNode) -> t.Name:
        return self._name(node.children[0])

    def _axis_arg(self, node: ParseNode) -> t.Arg:
        return self._keyed(node, ":")

    def _keyed(self, node: ParseNode, sign: str) -> t.Arg:
        name, _, value = node.children
        return t.Arg(self._ident(name), sign, self.expr(value), self.span(node))

    def _posarg(self, node: ParseNode) -> t.Arg:
        return t.Arg(None, "", self.expr(node.children[0]), self.span(node))

    def _args(self, kids: Kids) -> tuple[t.Arg, ...]:
        args = next((x for x in kids if is_tree(x, "args")), None)
        return () if args is None else tuple(self._build(x) for x in subtrees(args))

    # --------------------------------------------------------------- leaves

    def _value(self, kids: Kids) -> t.Expr | None:
        """Build the expression after `=`, if there is one."""
        node = after(kids, "EQUAL")
        return None if node is None else self.expr(node)

    def _doc(self, kids: Kids) -> t.Doc | None:
        """Build the doc string, which stands last if there is one."""
        last = kids[-1]
        return (
            t.Doc(self._text(last.children[0]), self.span(last)) if is_tree(last, "doc") else None
        )

    def _names(self, kids: Kids) -> tuple[t.Ident, ...]:
        return tuple(self._ident(x) for x in kids if is_token(x, "NAME"))

    def _name(self, token: Token) -> t.Name:
        ident = self._ident(token)
        return t.Name(ident.text, ident.span)

    def _ident(self, token: Token) -> t.Ident:
        if len(token.text) > NAME_LENGTH:
            raise fault(
                "OP0105",
                f"this name has {len(token.text)} letters",
                Label(self.span(token), f"a name has at most {NAME_LENGTH}"),
            )
        return t.Ident(token.text, self.source.span(token.start, token.end))

    def _integer(self, token: Token) -> int:
        if len(token.text) > DIGITS:
            raise fault(
                "OP0105",
                f"this number has {len(token.text)} digits",
                Label(self.span(token), f"a number has at most {DIGITS}"),
            )
        return int(token.text)

    def _text(self, token: Token) -> str:
        """Return the text between the quotes of a token."""
        if token.text.startswith('"""'):
            return token.text[3:-3].replace("\r\n", "\n")
        return re.sub(r"\\(.)", lambda m: ESCAPES[m[1]], token.text[1:-1])

    def span(self, node: Any) -> Span:
        """Return the span of a node, from its first token to its last."""
        first = last = node
        while not isinstance(first, Token):
            first = first.children[0]
        while not isinstance(last, Token):
            last = last.children[-1]
        return self.source.span(first.start, last.end)  # clipped: recovery adds `}` at the end
