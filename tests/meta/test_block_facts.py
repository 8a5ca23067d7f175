"""Facts about blocks stand on their classes: no table of keywords, no `isinstance` elsewhere.

`opdsl/lower/fuse` is an exception: a pattern of nodes names the blocks of which it consists.
`opdsl/lower/sharded` is the other one: it computes layers on parts of a grid, each in its own way.
"""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from opdsl import blocks
from opdsl.ir.block import Block

ROOT = Path(__file__).parents[2]
# layers know nothing of blocks, and one layer may be part of another
EXCEPT = [ROOT / "opdsl" / x for x in ("blocks", "lower/fuse", "lower/sharded", "nn")]
OUTSIDE = [
    x
    for x in sorted((ROOT / "opdsl").rglob("*.py"))
    if not any(x.is_relative_to(y) for y in EXCEPT)
]
KEYWORDS = frozenset(blocks.names())
CLASSES = {blocks.find(x).__name__: x for x in KEYWORDS}
METHODS = [
    name
    for name, method in vars(Block).items()
    if inspect.isfunction(method) and inspect.signature(method).parameters.get("_")
]


def words(node: ast.expr) -> list[str] | None:
    """The strings of a set, or the keys of a dictionary; None: it has others too."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"frozenset", "set"}:
        return words(node.args[0]) if node.args else None
    if isinstance(node, ast.Dict):
        members = node.keys
    elif isinstance(node, ast.Set | ast.Tuple | ast.List):
        members = node.elts
    else:
        return None
    strings = [x.value for x in members if isinstance(x, ast.Constant)]
    return strings if members and len(strings) == len(members) else None


def is_keyword_of_a_block(node: ast.expr) -> bool:
    """Whether an expression is `x.keyword` or `x.keyword()`."""
    called = node.func if isinstance(node, ast.Call) else node
    return isinstance(called, ast.Attribute) and called.attr == "keyword"


def of(node: ast.Attribute) -> str:
    """The name whose attribute it is; empty for other expressions."""
    return node.value.id if isinstance(node.value, ast.Name) else ""


def faults(text: str) -> Iterator[str]:
    """What a source says about single blocks."""
    tree = ast.parse(text)
    ours = {
        y.name
        for x in ast.walk(tree)
        if isinstance(x, ast.ImportFrom)
        and (x.module or "").startswith(("opdsl.blocks", "opdsl.nn"))
        for y in x.names
    }
    for node in ast.walk(tree):
        match node:
            case ast.Dict() | ast.Set() if set(words(node) or ("",)) <= KEYWORDS:
                yield f"{node.lineno}: a table keyed by blocks: {words(node)}"
            case ast.Compare(left=left, comparators=right) if any(
                map(is_keyword_of_a_block, (left, *right))
            ):
                said = {z for y in (left, *right) for z in words(y) or [getattr(y, "value", "")]}
                if met := {x for x in said if isinstance(x, str)} & KEYWORDS:
                    yield f"{node.lineno}: a comparison with the keyword of a block: {met}"
            case ast.ImportFrom(module=str(module), names=names) if module.startswith(
                "opdsl.blocks."
            ):
                if met := {x.name for x in names} & CLASSES.keys():
                    yield f"{node.lineno}: the class of a block: {met}"
            case ast.Call(func=ast.Name(id="isinstance"), args=[_, kinds]):
                parts = list(ast.walk(kinds))
                told = {x.id for x in parts if isinstance(x, ast.Name)} & ours
                told |= {x.attr for x in parts if isinstance(x, ast.Attribute) and of(x) in ours}
                if met := told & CLASSES.keys():
                    yield f"{node.lineno}: `isinstance` of a block or its layer: {met}"


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda x: str(x.relative_to(ROOT)))
def test_no_source_outside_of_blocks_knows_single_blocks(path):
    assert list(faults(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "text",
    [
        'SPECTRAL = {"spectral_conv": 1, "axis_conv": 2}',
        'INTEGRALS = frozenset({"gno", "attention"})',
        'found = node.keyword == "apply"',
        'found = type(x).keyword() in ("add", "mul")',
        "from opdsl.blocks.pointwise.apply import Apply",
        "from opdsl.nn.spectral import conv\nfound = isinstance(x, conv.SpectralConv)",
        "from opdsl.nn.layers import Linear\nfound = isinstance(x, Linear | tuple)",
    ],
)
def test_a_fact_in_a_wrong_place_is_found(text):
    assert len(list(faults(text))) == 1


@pytest.mark.parametrize("keyword", sorted(KEYWORDS))
def test_all_methods_of_a_block_take_its_inputs(keyword):
    cls = blocks.find(keyword)
    least, most = cls.arity
    for name in METHODS:
        method = inspect.signature(getattr(cls, name))
        before = inspect.signature(getattr(Block, name)).parameters.values()
        lead = sum(x.kind is x.POSITIONAL_OR_KEYWORD for x in before)
        method.bind(*range(lead + least))  # raises TypeError, as the next line does
        method.bind(*range(lead + (least + 3 if most is None else most)))
        if most is not None and "_" not in method.parameters:
            with pytest.raises(TypeError):
                method.bind(*range(lead + most + 1))


@pytest.mark.parametrize(
    ("keyword", "arity"),
    [
        ("coords", (0, 0)),
        ("linear", (1, 1)),
        ("add", (2, 2)),
        ("complex", (1, 2)),
        ("codomain_attention", (3, 3)),
        ("concat", (1, None)),
    ],
)
def test_the_arity_of_a_block_is_that_of_infer(keyword, arity):
    assert blocks.find(keyword).arity == arity


def test_a_class_may_declare_its_arity_instead():
    class Declared(Block):
        arity = (2, 4)

        def infer(self, *x):
            return x[0]

    class Silent(Block):
        def infer(self, *x):
            return x[0]

    class Below(Declared):
        pass

    assert (Declared.arity, Silent.arity, Below.arity) == ((2, 4), (1, 1), (2, 4))
