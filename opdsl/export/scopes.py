"""Names in a statement that refer to the module around it, by Python's rules of scope."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
_Found = tuple[ast.Name, ast.Attribute | None]


@dataclass(frozen=True, slots=True)
class _Scope:
    """The names bound in a function, a comprehension or a class body."""

    names: frozenset[str]
    of_class: bool = False


def module_level_names(statement: ast.stmt) -> list[_Found]:
    """Yield each name that is not local to the statement, with the attribute read from it, if any.

    The name that an assignment binds is among them, that of a class or function is not.
    """
    return list(_visit(statement, (), None))


def _visit(node: ast.AST, scopes: tuple[_Scope, ...], parent: ast.AST | None) -> Iterator[_Found]:
    match node:
        case ast.Name(id=name):
            # functions do not see the names of a class around them
            visible = (x for i, x in enumerate(scopes) if not x.of_class or i == len(scopes) - 1)
            if not any(name in x.names for x in visible):
                yield node, parent if isinstance(parent, ast.Attribute) else None
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
            yield from _in_function(node, scopes)
        case ast.ClassDef():
            own = _Scope(frozenset(_bound(node.body)), of_class=True)
            yield from _all([*node.decorator_list, *node.bases, *node.keywords], scopes)
            yield from _all(node.body, (*scopes, own))
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            yield from _in_comprehension(node, scopes)
        case ast.AnnAssign(value=None):  # its target is no variable, or one that is bound elsewhere
            yield from _visit(node.annotation, scopes, None)
        case ast.Global() | ast.Nonlocal():
            raise AssertionError("numerics that write to the names of others cannot be cut out")
        case _:
            yield from _all(ast.iter_child_nodes(node), scopes, node)


def _all(
    nodes: Iterable[ast.AST], scopes: tuple[_Scope, ...], parent: ast.AST | None = None
) -> Iterator[_Found]:
    for x in nodes:
        yield from _visit(x, scopes, parent)


def _in_function(node: _Function, scopes: tuple[_Scope, ...]) -> Iterator[_Found]:
    args = node.args
    slots = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    parameters = [x for x in slots if x is not None]
    outside: list[ast.AST] = [x.annotation for x in parameters if x.annotation is not None]
    outside += [x for x in (*args.defaults, *args.kw_defaults) if x is not None]
    body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else [*node.body]
    if not isinstance(node, ast.Lambda):
        outside += [*node.decorator_list, *([node.returns] if node.returns else [])]
    yield from _all(outside, scopes)
    own = _Scope(frozenset({x.arg for x in parameters} | set(_bound(body))))
    yield from _all(body, (*scopes, own))


def _in_comprehension(node: _Comprehension, scopes: tuple[_Scope, ...]) -> Iterator[_Found]:
    own = _Scope(frozenset(y for x in node.generators for y in _bound([x.target])))
    first = node.generators[0]
    yield from _visit(first.iter, scopes, None)  # the only part that is evaluated outside
    for child in ast.iter_child_nodes(node):
        if child is first:
            yield from _all([first.target, *first.ifs], (*scopes, own))
        else:
            yield from _visit(child, (*scopes, own), None)


def _bound(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the names that statements bind in their own scope."""
    for node in nodes:
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                yield name
            case ast.AnnAssign(value=None):  # an annotation alone binds nothing
                continue
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
                continue
            case ast.Lambda():
                continue
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                inner = (x for x in ast.walk(node) if isinstance(x, ast.NamedExpr))
                yield from (x.target.id for x in inner)  # these bind outside
                continue
            case ast.Import() | ast.ImportFrom():
                yield from (x.asname or x.name.partition(".")[0] for x in node.names)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield name
            case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                yield name
        yield from _bound(ast.iter_child_nodes(node))
