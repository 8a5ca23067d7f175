"""Print the functions through which a value travels, from the text of a program to a kernel.

    python tools/call_chain.py             # modes, radius, precision
    python tools/call_chain.py modes

A small program is compiled and run once under `sys.setprofile`. A function of opdsl counts, once
however often it is called, if it receives the value: if one of its arguments is the value, a tuple,
list, mapping, token or syntax node that holds it, or a value with its place; or if it reads the
value from an attribute of an argument (`self.modes`). What merely holds an object that holds the
value (a graph, a block whose parameter is not read) does not receive it. Comprehensions and lambdas
count as the function around them. For `modes` the band of frequencies counts as the value, since it
is the same limit in another form.

A call goes back up if its caller lies in a lower layer than its callee, both counted, and the
callee was not reached through an interface of the lower layer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from types import CodeType, FrameType

ROOT = Path(__file__).parents[1]
PACKAGE = str(ROOT / "opdsl") + "/"
INNER = {"<lambda>", "<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>"}
DEPTH = 4  # of containers inside containers

# from the lowest layer up, as in pyproject.toml; modules of one line are of one height
LAYERS = (
    ("setting", "precisions", "spectrum", "diagnostics", "resources", "files"),
    ("nn", "syntax"),
    ("ir",),
    ("blocks",),
    ("elaborate.evaluate",),
    ("elaborate.bind",),
    ("elaborate.instantiate", "elaborate"),
    ("checks",),
    ("render", "lower", "summary", "export"),
    ("compiler", "train", "data"),
    ("workflow",),
    ("cli",),
)

MODES = 23
MODES_PROGRAM = """edition 2026
from std.fourier import FourierLayer
model Traced {
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 48)
  input a : D -> R^3
  output u : D -> R^3
  u = a |> FourierLayer(modes = 23)
}
"""
RADIUS = 0.34375  # exact in float32
RADIUS_PROGRAM = """edition 2026
model Traced {
  domain P = points(2)
  domain Q = points(2)
  input a : P -> R^3
  output u : Q -> R^3
  u = a |> gno(to = Q, radius = 0.34375, kernel = [4])
}
"""
PRECISION_PROGRAM = """edition 2026
model Traced {
  domain D = grid(x: 0..1)
  input a : D -> R^1
  output u : D -> R^1
  u = a |> linear(out = 1)
}
train Traced {
  data traced { path = "train.npz" valid = none }
  epochs = 1
  batch = 2
  precision = tf32
}
"""


@dataclass(frozen=True)
class Hop:
    """One function, by its module and qualified name, and the one that called it first."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class Chain:
    """The functions that received the value, in order, and the calls from lower layers up."""

    hops: list[Hop] = field(default_factory=list)
    upward: list[tuple[Hop, Hop]] = field(default_factory=list)


def follow(run: Callable[[], object], is_value: Callable[[object], bool]) -> Chain:
    """The chain of a value while `run` runs."""
    chain, seen, through = Chain(), dict[CodeType, bool](), set[tuple[CodeType, CodeType]]()

    def watch(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(PACKAGE):
            return
        if code.co_name in INNER or code.co_name == "<module>" or not _receives(frame, is_value):
            return
        if code not in seen:
            seen[code] = True
            chain.hops.append(_hop(code))
        caller = _caller(frame)
        if caller is not None and caller in seen and (caller, code) not in through:
            through.add((caller, code))
            if _height(_hop(caller)) < _height(_hop(code)):
                chain.upward.append((_hop(caller), _hop(code)))

    sys.setprofile(watch)
    try:
        run()
    finally:
        sys.setprofile(None)
    return chain


def _caller(frame: FrameType) -> CodeType | None:
    """The function of opdsl that called, past comprehensions and other packages."""
    above = frame.f_back
    while above is not None:
        code = above.f_code
        if code.co_filename.startswith(PACKAGE) and code.co_name not in INNER:
            return code
        above = above.f_back
    return None


def _hop(code: CodeType) -> Hop:
    module = code.co_filename.removeprefix(PACKAGE).removesuffix(".py").replace("/", ".")
    return Hop(module.removesuffix(".__init__"), code.co_qualname.replace("<locals>.", ""))


def _height(hop: Hop) -> int:
    found = [
        (len(name), height)
        for height, names in enumerate(LAYERS)
        for name in names
        if f"{hop.module}.".startswith(f"{name}.")
    ]
    return max(found)[1] if found else len(LAYERS)


def _receives(frame: FrameType, is_value: Callable[[object], bool]) -> bool:
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & 4) + bool(code.co_flags & 8)  # *args, **kwargs
    arguments = [frame.f_locals.get(x) for x in code.co_varnames[:count]]
    names = set(_names(code))
    return any(_holds(x, is_value, DEPTH) or _read(x, names, is_value) for x in arguments)


def _names(code: CodeType) -> Iterator[str]:
    """The attributes that a function reads, its comprehensions included."""
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType) and inner.co_name in INNER:
            yield from _names(inner)


def _holds(x: object, is_value: Callable[[object], bool], depth: int) -> bool:
    if is_value(x):
        return True
    return depth > 0 and any(_holds(y, is_value, depth - 1) for y in _inside(x))


def _inside(x: object) -> Iterable[object]:
    """What a container, a token, a syntax node or a value with its place holds."""
    if isinstance(x, tuple | list):
        return x
    if isinstance(x, Mapping):
        return list(x.values())
    kind = type(x)
    if kind.__module__ == "opdsl.syntax.lalr" or kind.__name__ == "Token":
        return (getattr(x, "value", None),)
    literal = kind.__module__ == "opdsl.syntax.tree" and kind.__name__ in HOLDERS
    if is_dataclass(x) and (literal or kind.__name__ in VALUES):
        return (getattr(x, "value", None),)
    return ()


HOLDERS = {"Literal", "Arg", "Setting"}  # syntax nodes of one value
VALUES = {"Given", "Argument", "Setting", "RawSetting", "Assignment", "Override"}


def _read(x: object, names: set[str], is_value: Callable[[object], bool]) -> bool:
    """Whether the function reads the value from an attribute of the argument."""
    for name in names:
        value = vars(x).get(name) if hasattr(x, "__dict__") else _slot(x, name)
        if value is not None and _holds(value, is_value, 2):
            return True
    return False


def _slot(x: object, name: str) -> object:
    return getattr(x, name, None) if name in getattr(type(x), "__slots__", ()) else None


# ------------------------------------------------------------------------------ the three values


def modes() -> Chain:
    """The chain of `modes` in a Fourier layer of the library."""
    import torch

    import opdsl

    def is_value(x: object) -> bool:
        if isinstance(x, str):
            return x == str(MODES)
        band = isinstance(x, range) and x.stop == MODES + 1
        return band or (type(x) is int and x == MODES)

    def run() -> None:
        opdsl.compile(MODES_PROGRAM)(torch.zeros(1, 3, 48, 64))

    return follow(run, is_value)


def radius() -> Chain:
    """The chain of `radius` in an integral over points."""
    import torch

    import opdsl

    def is_value(x: object) -> bool:
        return x in (str(RADIUS), RADIUS) if isinstance(x, str | float) else False

    def run() -> None:
        points = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
        module = opdsl.compile(RADIUS_PROGRAM)
        module(torch.zeros(1, 3, 40), P=points, Q=points)

    return follow(run, is_value)
