"""From the concrete syntax tree to the abstract one: one function for each rule of the grammar.

What is wrong in a text that the grammar accepts (a number too large, an expression too deep) raises
`OpError`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from opdsl.diagnostics import Label, Source, Span, fault
from opdsl.syntax import tree as t
from opdsl.syntax.lalr import Node, Token

DEPTH = 128  # of expressions; every later stage walks them by recursion
NAME_LENGTH = 256
DIGITS = 4300  # beyond this, Python refuses to read an integer
ESCAPES = {'"': '"', "\\": "\\", "n": "\n", "t": "\t"}

Kids = list[Any]


class Builder:
    """Makes the nodes of one text."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.depth = 0

    def file(self, node: Node) -> tuple[t.Edition | None, tuple[t.Item, ...]]:
        """The edition and the items of a program."""
        made = [self._made(x) for x in _kids(node)]
        edition = made.pop(0) if made and isinstance(made[0], t.Edition) else None
        return edition, tuple(made)

    def expr(self, node: Node) -> t.Expr:
        """Any expression, pipes included."""
        self.depth += 1
        if self.depth > DEPTH:
            raise _too_deep(self.span(node))
        made: t.Expr = self._made(node)
        self.depth -= 1
        return made

    def _made(self, node: Node) -> Any:
        """The node of a rule, from the method that has its name."""
        return getattr(self, f"_{node.rule}")(node)

    # ---------------------------------------------------------------- items

    def _edition(self, node: Node) -> t.Edition:
        return t.Edition(self._integer(_kids(node)[1]), self.span(node))

    def _import_module(self, node: Node) -> t.Import:
        path, file = self._source(_kids(node)[1])
        alias = _after(_kids(node), "AS")
        place = self.span(_kids(node)[1])
        return t.Import(path, file, (), alias and self._ident(alias), place, self.span(node))

    def _import_names(self, node: Node) -> t.Import:
        path, file = self._source(_kids(node)[1])
        names = self._names(_kids(node)[3:])
        return t.Import(path, file, names, None, self.span(_kids(node)[1]), self.span(node))

    def _source(self, node: Any) -> tuple[tuple[t.Ident, ...], str | None]:
        if isinstance(node, Token):
            return (), self._text(node)
        return self._names(_kids(node)), None

    def _const(self, node: Node) -> t.Const:
        kids = _kids(node)
        return t.Const(self._ident(kids[1]), self.expr(kids[3]), self._doc(kids), self.span(node))

    def _block(self, node: Node) -> t.Definition:
        return self._definition("block", node)

    def _model(self, node: Node) -> t.Definition:
        return self._definition("model", node)

    def _definition(self, keyword: str, node: Node) -> t.Definition:
        name, doc, body = self._braced(node)
        return t.Definition(keyword, name, doc, tuple(body), self.span(node))

    def _train(self, node: Node) -> t.Train:
        name, doc, body = self._braced(node)
        return t.Train(name, doc, tuple(body), self.span(node))

    def _braced(self, node: Node) -> tuple[t.Ident, t.Doc | None, Iterator[Any]]:
        """The parts of `keyword NAME [doc] "{" part* "}"`."""
        kids = _kids(node)
        parts = [x for x in kids[2:] if not isinstance(x, Token)]
        doc = self._doc(parts[:1]) if parts else None
        body = (self._made(x) for x in parts[doc is not None :])
        return self._ident(kids[1]), doc, body

    # ----------------------------------------------------------- statements

    def _domain(self, node: Node) -> t.Domain:
        kids = _kids(node)
        name, kind = self._ident(kids[1]), self._kind(kids[3])
        return t.Domain(name, kind, self._value(kids), self._doc(kids), self.span(node))

    def _domain_value(self, node: Node) -> t.Domain:
        kids = _kids(node)
        name, doc = self._ident(kids[1]), self._doc(kids)
        return t.Domain(name, None, self._value(kids), doc, self.span(node))

    def _dim(self, node: Node) -> t.Dim:
        kids = _kids(node)
        return t.Dim(self._ident(kids[1]), self._value(kids), self._doc(kids), self.span(node))

    def _param(self, node: Node) -> t.Param:
        kids = _kids(node)
        name, kind = self._ident(kids[1]), self._alternatives(kids[3])
        return t.Param(name, kind, self._value(kids), self._doc(kids), self.span(node))

    def _input(self, node: Node) -> t.Input:
        kids = _kids(node)
        return t.Input(self._ident(kids[1]), self._type(kids[3]), self._doc(kids), self.span(node))

    def _output(self, node: Node) -> t.Output:
        kids = _kids(node)
        name, space = self._ident(kids[1]), self._type(kids[3])
        return t.Output(name, space, self._doc(kids), self.span(node))

    def _require(self, node: Node) -> t.Require:
        kids = _kids(node)
        return t.Require(self.expr(kids[1]), self._doc(kids), self.span(node))

    def _feedback(self, node: Node) -> t.Feedback:
        _, output, _, entry = _kids(node)
        return t.Feedback(self._ident(output), self._ident(entry), self.span(node))

    def _bind(self, node: Node) -> t.Bind:
        kids = _kids(node)
        return t.Bind(self._names(kids), None, self.expr(kids[-1]), self.span(node))

    def _bind_typed(self, node: Node) -> t.Bind:
        name, _, space, _, value = _kids(node)
        found = self._type(space)
        return t.Bind((self._ident(name),), found, self.expr(value), self.span(node))

    def _setting(self, node: Node) -> t.Setting:
        name, _, value = _kids(node)
        return t.Setting(self._ident(name), self.expr(value), self.span(node))

    def _setting_block(self, node: Node) -> t.SettingBlock:
        kids = _kids(node)
        names = self._names(kids)
        kind = names[1] if len(names) > 1 else None
        body = tuple(self._made(x) for x in kids if not isinstance(x, Token))
        return t.SettingBlock(names[0], kind, body, self.span(node))

    # ---------------------------------------------------------------- types

    def _kind(self, node: Node) -> t.DomainKind:
        kids = _kids(node)
        return t.DomainKind(self._ident(kids[0]), self._args(kids), self.span(node))

    def _alternatives(self, node: Node) -> tuple[t.ParamType, ...]:
        return tuple(self._param_type(x) for x in _trees(node))

    def _param_type(self, node: Node) -> t.ParamType:
        self.depth += 1
        if self.depth > DEPTH:
            raise _too_deep(self.span(node))
        args = tuple(self._alternatives(x) for x in _trees(node))
        self.depth -= 1
        return t.ParamType(self._ident(_kids(node)[0]), args, self.span(node))

    def _type(self, node: Node) -> t.TypeExpr:
        kids = _kids(node)
        domain = self.expr(kids[0]) if len(kids) > 1 else None
        return t.TypeExpr(domain, self._codomain(kids[-1]), self.span(node))

    def _codomain(self, node: Node) -> t.Codomain:
        field = self._ident(_kids(node)[0])
        spec = _kids(node)[-1]
        channels: t.Expr | None = None
        names: tuple[t.Ident, ...] | None = None
        match spec:
            case Node(rule="chan_names"):
                names = self._names(_kids(spec))
            case Node(rule="chan_name"):
                channels = self._name(_kids(spec)[0])
            case Node(rule="chan_expr"):
                channels = self.expr(_kids(spec)[1])
            case Node():
                channels = self.expr(spec)
        return t.Codomain(field, channels, names, self.span(node))

    # ---------------------------------------------------------- expressions

    def _pipe_to(self, node: Node) -> t.Pipe:
        head, *rest = _trees(node)
        first = self.expr(head)
        stages = tuple(self._made(x) for x in rest)
        if isinstance(first, t.Pipe):  # (a |> f()) |> g() is a |> f() |> g()
            return t.Pipe(first.head, first.stages + stages, self.span(node))
        return t.Pipe(first, stages, self.span(node))

    def _call(self, node: Node) -> t.Call:
        path, *_ = _kids(node)
        return t.Call(self._names(_kids(path)), self._args(_kids(node)), self.span(node))

    _stage_call = _call

    def _repeat(self, node: Node) -> t.Repeat:
        kids = _kids(node)
        count, chain = _trees(node)
        index = _after(kids, "AS")
        brace = next(i for i, x in enumerate(kids) if _is(x, "LBRACE"))
        head = self.span(kids[0]).cover(self.span(kids[brace - 1]))
        return t.Repeat(
            self.expr(count),
            index and self._ident(index),
            any(_is(x, "SHARED") for x in kids),
            self._chain(chain),
            self.span(node),
            head,
        )

    def _residual(self, node: Node) -> t.Residual:
        kids = _kids(node)
        return t.Residual(self._chain(kids[2]), self.span(node), self.span(kids[0]))

    def _chain(self, node: Node) -> t.Chain:
        self.depth += 1
        if self.depth > DEPTH:
            raise _too_deep(self.span(node))
        stages = tuple(self._made(x) for x in _trees(node))
        self.depth -= 1
        return t.Chain(stages, self.span(node))

    def _if_expr(self, node: Node) -> t.If:
        test, yes, no = _trees(node)
        return t.If(self.expr(test), self.expr(yes), self.expr(no), self.span(node))

    def _binary(self, node: Node) -> t.Binary:
        left, sign, right = _kids(node)
        a, b = self.expr(left), self.expr(right)
        return t.Binary(sign.text, a, b, self.span(node), self.span(sign))

    def _unary(self, node: Node) -> t.Unary:
        sign, value = _kids(node)
        return t.Unary(sign.text, self.expr(value), self.span(node), self.span(sign))

    def _member(self, node: Node) -> t.Member:
        value, _, name = _kids(node)
        return t.Member(self.expr(value), self._ident(name), self.span(node))

    def _index(self, node: Node) -> t.Index:
        value, _, index, _ = _kids(node)
        return t.Index(self.expr(value), self.expr(index), self.span(node))

    def _path(self, node: Node) -> t.Name | t.Member:
        first, *rest = self._names(_kids(node))
        made: t.Name | t.Member = t.Name(first.text, first.span)
        for x in rest:
            self._deep(len(rest), node)
            made = t.Member(made, x, first.span.cover(x.span))
        return made

    def _deep(self, more: int, node: Node) -> None:
        if self.depth + more > DEPTH:
            raise _too_deep(self.span(node))

    def _group(self, node: Node) -> t.Expr:
        return self.expr(_kids(node)[1])

    def _tuple(self, node: Node) -> t.Sequence:
        return t.Sequence("(", tuple(self.expr(x) for x in _trees(node)), self.span(node))

    def _list(self, node: Node) -> t.Sequence:
        return t.Sequence("[", tuple(self.expr(x) for x in _trees(node)), self.span(node))

    def _int(self, node: Node) -> t.Literal:
        return t.Literal(self._integer(_kids(node)[0]), self.span(node))

    def _float(self, node: Node) -> t.Literal:
        value = float(_kids(node)[0].text)
        if math.isinf(value):
            raise fault(
                "OP0105",
                "this number is too large",
                Label(self.span(node), "larger than 1.8e308"),
            )
        return t.Literal(value, self.span(node))

    def _string(self, node: Node) -> t.Literal:
        return t.Literal(self._text(_kids(node)[0]), self.span(node))

    def _true(self, node: Node) -> t.Literal:
        return t.Literal(True, self.span(node))

    def _false(self, node: Node) -> t.Literal:
        return t.Literal(False, self.span(node))

    def _hole(self, node: Node) -> t.Hole:
        return t.Hole(self.span(node))

    def _kwarg(self, node: Node) -> t.Arg:
        return self._keyed(node, "=")

    def _word(self, node: Node) -> t.Name:
        return self._name(_kids(node)[0])

    def _axis_arg(self, node: Node) -> t.Arg:
        return self._keyed(node, ":")

    def _keyed(self, node: Node, sign: str) -> t.Arg:
        name, _, value = _kids(node)
        return t.Arg(self._ident(name), sign, self.expr(value), self.span(node))

    def _posarg(self, node: Node) -> t.Arg:
        return t.Arg(None, "", self.expr(_kids(node)[0]), self.span(node))

    def _args(self, kids: Kids) -> tuple[t.Arg, ...]:
        found = next((x for x in kids if _is_tree(x, "args")), None)
        if found is None:
            return ()
        return tuple(self._made(x) for x in _trees(found))

    # --------------------------------------------------------------- leaves

    def _value(self, kids: Kids) -> t.Expr | None:
        """What follows `=`."""
        node = _after(kids, "EQUAL")
        return None if node is None else self.expr(node)

    def _doc(self, kids: Kids) -> t.Doc | None:
        """The doc string, which stands last if there is one."""
        last = kids[-1]
        return (
            t.Doc(self._text(last.children[0]), self.span(last)) if _is_tree(last, "doc") else None
        )

    def _names(self, kids: Kids) -> tuple[t.Ident, ...]:
        return tuple(self._ident(x) for x in kids if _is(x, "NAME"))

    def _name(self, token: Token) -> t.Name:
        found = self._ident(token)
        return t.Name(found.text, found.span)

    def _ident(self, token: Token) -> t.Ident:
        if len(token.text) > NAME_LENGTH:
            raise fault(
                "OP0105",
                f"this name has {len(token.text)} letters",
                Label(self.span(token), f"a name has at most {NAME_LENGTH}"),
            )
        return t.Ident(token.text, self.span(token))

    def _integer(self, token: Token) -> int:
        if len(token.text) > DIGITS:
            raise fault(
                "OP0105",
                f"this number has {len(token.text)} digits",
                Label(self.span(token), f"a number has at most {DIGITS}"),
            )
        return int(token.text)

    def _text(self, token: Token) -> str:
        """The text between the quotes."""
        if token.text.startswith('"""'):
            return token.text[3:-3].replace("\r\n", "\n")
        return re.sub(r"\\(.)", lambda m: ESCAPES[m[1]], token.text[1:-1])

    def span(self, node: Any) -> Span:
        """From the first token of a node to its last."""
        first = last = node
        while not isinstance(first, Token):
            first = first.children[0]
        while not isinstance(last, Token):
            last = last.children[-1]
        return self.source.span(first.start, last.end)  # clipped: recovery adds `}` at the end


def _kids(node: Node) -> Kids:
    """The tokens and nodes of which a node consists."""
    return node.children


def _is(node: Any, kind: str) -> bool:
    return isinstance(node, Token) and node.kind == kind


def _is_tree(node: Any, rule: str) -> bool:
    return isinstance(node, Node) and node.rule == rule


def _trees(node: Node) -> list[Node]:
    return [x for x in _kids(node) if not isinstance(x, Token)]


def _after(kids: Kids, kind: str) -> Any:
    """The child behind the first token of a kind, or None."""
    for i, x in enumerate(kids):
        if _is(x, kind):
            return kids[i + 1]
    return None


def _too_deep(span: Span) -> Exception:
    return fault(
        "OP0105",
        "this expression is too deep",
        Label(span, f"more than {DEPTH} operators inside each other"),
        helps=("give a part of it a name of its own",),
    )
