"""Conversion of a tree to text, with brackets only where the grammar needs them.

Parsing the text gives the tree again. The layout is left to the printer.
"""

from __future__ import annotations

from opdsl.syntax import tree as t

# binding strength of operators; an operand that binds less tightly stands in brackets
PIPE, EXPR, RANGE, OR, AND, NOT, CMP, SUM, PROD, SIGN, POSTFIX = range(11)
LEVEL = {
    "..": RANGE, "or": OR, "and": AND, "+": SUM, "-": SUM, "*": PROD, "/": PROD, "%": PROD,
    "==": CMP, "!=": CMP, "<=": CMP, ">=": CMP, "<": CMP, ">": CMP,
}  # fmt: skip
FLAT = (RANGE, CMP)  # not associative: `a < b < c` is no expression
ESCAPED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}


def unparse(file: t.File) -> str:
    """Write the text of a file."""
    lines = [f"edition {file.edition.year}"] if file.edition else []
    return "\n".join(lines + [_item(x) for x in file.items]) + "\n"


def _item(node: t.Item) -> str:
    match node:
        case t.Import():
            return _import(node)
        case t.Const():
            return f"const {node.name.text} = {expr(node.value)}{_doc(node.doc)}"
        case t.Equation():
            args = ", ".join(f"{x.name.text}{_value(x.value)}" for x in node.args)
            head = f"equation {node.name.text}({args})"
            return f"{head} = {expr(node.value, EXPR)}{_doc(node.doc)}"
        case t.Definition():
            return _braced(f"{node.keyword} {node.name.text}{_doc(node.doc)}", node.body)
        case t.Train():
            return _braced(f"train {node.name.text}{_doc(node.doc)}", node.body)


def _import(node: t.Import) -> str:
    source = quoted(node.file) if node.file is not None else _path(node.path)
    if node.names:
        return f"from {source} import {_names(node.names)}"
    return f"import {source}" + (f" as {node.alias.text}" if node.alias else "")


def _braced(head: str, body: tuple[t.Statement | t.Setting | t.SettingBlock, ...]) -> str:
    lines = [f"{head} {{"]
    for last, x in zip((None, *body), body, strict=False):
        if last and isinstance(x, t.Bind) and not isinstance(last, t.Bind):
            lines.append("")  # a blank line between the declarations and the computation
        lines.append(_statement(x))
    return "\n".join([*lines, "}"])


def _statement(node: t.Statement | t.Setting | t.SettingBlock) -> str:
    match node:
        case t.Domain():
            kind = f" : {_kind(node.kind)}" if node.kind else ""
            return f"domain {node.name.text}{kind}{_value(node.value)}{_doc(node.doc)}"
        case t.Dim():
            return f"dim {node.name.text}{_value(node.value)}{_doc(node.doc)}"
        case t.Param():
            kind = _alternatives(node.type)
            return f"param {node.name.text} : {kind}{_value(node.value)}{_doc(node.doc)}"
        case t.Input() | t.Output():
            word = "input" if isinstance(node, t.Input) else "output"
            return f"{word} {node.name.text} : {_type(node.type)}{_ends(node)}{_doc(node.doc)}"
        case t.Require():
            return f"require {expr(node.test, EXPR)}{_doc(node.doc)}"
        case t.Feedback():
            return f"feedback {node.output.text} -> {node.input.text}"
        case t.Bind():
            space = f" : {_type(node.type)}" if node.type else ""
            return f"{_names(node.names)}{space} = {expr(node.value)}"
        case t.Setting():
            return f"{node.name.text} = {expr(node.value, EXPR)}"
        case t.SettingBlock():
            kind = f" {node.kind.text}" if node.kind else ""
            return _braced(f"{node.name.text}{kind}", node.body)


def _ends(node: t.Input | t.Output) -> str:
    return f", {_arg(node.ends)}" if node.ends else ""


def _value(node: t.Expr | None) -> str:
    return "" if node is None else f" = {expr(node, EXPR)}"


def _doc(node: t.Doc | None) -> str:
    if node is None:
        return ""
    long = "\n" in node.text and not set('"\r') & set(node.text)
    return f' """{node.text}"""' if long else f" {quoted(node.text)}"


def _kind(node: t.DomainKind) -> str:
    return node.name.text + (f"({_args(node.args)})" if node.args else "")


def _alternatives(types: tuple[t.ParamType, ...]) -> str:
    return " | ".join(_param_type(x) for x in types)


def _param_type(node: t.ParamType) -> str:
    args = ", ".join(_alternatives(x) for x in node.args)
    return node.name.text + (f"[{args}]" if args else "")


def _type(node: t.TypeExpr) -> str:
    domain = f"{expr(node.domain, EXPR)} -> " if node.domain else ""
    return domain + _codomain(node.codomain)


def _codomain(node: t.Codomain) -> str:
    match node.channels:
        case None:
            names = "" if node.names is None else f"^{{{_names(node.names)}}}"
            return node.field.text + names
        case t.Name(text=text):
            return f"{node.field.text}^{text}"
        case t.Literal(value=int(value)) if value >= 0 and not isinstance(value, bool):
            return f"{node.field.text}^{value}"
        case channels:
            return f"{node.field.text}^({expr(channels, EXPR)})"


# ---------------------------------------------------------------------- expressions


def expr(node: t.Expr, least: int = PIPE) -> str:
    """Write an expression, in brackets if it binds less tightly than `least`."""
    text, level = _expr(node)
    return text if level >= least else f"({text})"


def _expr(node: t.Expr) -> tuple[str, int]:
    match node:
        case t.Literal():
            return _literal(node.value)
        case t.Unary(sign="not"):
            return f"not {expr(node.value, NOT)}", NOT
        case t.Unary():
            return f"{node.sign}{expr(node.value, SIGN)}", SIGN
        case t.Binary():
            return _binary(node)
        case t.If():
            test, yes, no = (expr(x, EXPR) for x in (node.test, node.yes, node.no))
            return f"if {test} then {yes} else {no}", EXPR
        case t.Pipe():
            return f"{expr(node.head, EXPR)} |> {_stages(node.stages)}", PIPE
        case _:
            return _postfix(node), POSTFIX


def _postfix(node: t.Name | t.Hole | t.Sequence | t.Call | t.Member | t.Index) -> str:
    match node:
        case t.Name():
            return node.text
        case t.Hole():
            return "_"
        case t.Sequence():
            return _bracketed(node)
        case t.Call():
            return _call(node)
        case t.Member():
            return f"{expr(node.value, POSTFIX)}.{node.name.text}"
        case t.Index():
            return f"{expr(node.value, POSTFIX)}[{expr(node.index, EXPR)}]"


def _literal(value: float | bool | str) -> tuple[str, int]:
    if isinstance(value, str):
        return quoted(value), POSTFIX
    if isinstance(value, bool):
        return str(value).lower(), POSTFIX
    return repr(value), POSTFIX if value >= 0 else SIGN


def _bracketed(node: t.Sequence) -> str:
    items = ", ".join(expr(x) for x in node.items)
    if node.bracket == "[":
        return f"[{items}]"
    return f"({items},)" if len(node.items) == 1 else f"({items})"


def _binary(node: t.Binary) -> tuple[str, int]:
    level = LEVEL[node.sign]
    left = expr(node.left, level + (level in FLAT))
    right = expr(node.right, level + 1)
    space = "" if node.sign == ".." else " "
    return f"{left}{space}{node.sign}{space}{right}", level


def _call(node: t.Call) -> str:
    return f"{_path(node.path)}({_args(node.args)})"


def _args(args: tuple[t.Arg, ...]) -> str:
    return ", ".join(_arg(x) for x in args)


def _arg(node: t.Arg) -> str:
    if node.name is None:
        return expr(node.value)
    if node.sign == "=":
        return f"{node.name.text} = {expr(node.value)}"
    return f"{node.name.text}: {expr(node.value, EXPR)}"


def _stages(stages: tuple[t.Stage, ...]) -> str:
    return " |> ".join(_stage(x) for x in stages)


def _stage(node: t.Stage) -> str:
    match node:
        case t.Call():
            return _call(node)
        case t.Residual():
            return f"residual {{ {_stages(node.body.stages)} }}"
        case t.Repeat():
            index = f" as {node.index.text}" if node.index else ""
            shared = " shared" if node.shared else ""
            count = expr(node.count, EXPR)
            return f"repeat {count}{index}{shared} {{ {_stages(node.body.stages)} }}"


# --------------------------------------------------------------------------- leaves


def quoted(text: str) -> str:
    """Put a text between quotes, with escapes."""
    return '"' + "".join(ESCAPED.get(x, x) for x in text) + '"'


def _path(path: tuple[t.Ident, ...]) -> str:
    return ".".join(x.text for x in path)


def _names(names: tuple[t.Ident, ...]) -> str:
    return ", ".join(x.text for x in names)
