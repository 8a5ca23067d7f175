"""Print the functions through which a value travels, from the text of a program to a kernel.

    python tools/call_chain.py             # modes, radius, precision
    python tools/call_chain.py modes

A small program is compiled and run once under `sys.setprofile` (for `precision`, with the settings
of its train block, under their policy). A function of opdsl counts, once however often it is
called, if it receives the value: if one of its arguments is the value, or a tuple, list, dict,
syntax node of one token or carrier (`CARRIERS`: a token, an argument, a setting, a rule) that holds
it; or if it reads the value from an attribute of an argument (`self.modes`). What merely holds an
object that holds the value (a graph, a block whose parameter is not read) does not receive it.
Comprehensions and lambdas count as the function around them. For `modes` the band of frequencies
counts as the value, since it is the same limit in another form; `precision` ends where it has
become dtypes.

Everything is traced with two values, and only functions that receive the value both times count;
so a number that happens to be equal does not.

The chain ends at the kernel: what a kernel calls is its own affair. Functions that only look at the
value and hand it on to no kernel (checks, the evaluation budget, cost models, messages) are counted
as "aside", and so is all that they call.

A call goes back up if its caller lies in a lower layer than the function that it calls.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType

from opdsl.syntax.lalr import ParseNode

ROOT = Path(__file__).parents[1]
PACKAGE = str(ROOT / "opdsl") + "/"
INNER = {"<lambda>", "<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>"}
DEPTH = 4  # of containers inside containers
LONGEST = 16  # of a container; the tables of the parser are longer

# from the lowest layer up, as in pyproject.toml; a line is one height, a longer name wins
LAYERS = (
    ("precisions", "spectrum", "diagnostics", "resources", "files", "setting"),
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

# modules and functions that look at a value, and hand it on to no kernel
ASIDE = (
    "blocks.points.gno.Gno._of_neighbours",
    "blocks.points.gno.Gno._of_the_kernel",
    "blocks.spectral.spectral_conv.SpectralConv._check_modes",
    "checks",
    "elaborate.evaluate.budget",
    "elaborate.evaluate.limits",
    "ir.certificate",
    "ir.display",
    "lower.guards",
    "lower.plan",
    "summary",
    "syntax.mentions",
    "train.config.settings._faults_of",
    "train.config.settings._idle_keys",
    "train.config.settings._warmup_fault",
    "train.config.settings._origin",
    "train.config.schema._rows",
    "elaborate.bind.settings._check_distinct",
    "train.engine.precision._refusal",
    "diagnostics",
)
KERNELS = {
    "nn.spectral.convolve.convolve_fft",
    "nn.spectral.convolve.convolve_dft",
    "nn.points.neighbours.search.search",
}
# objects whose only purpose is to carry the value, by the attributes that hold it
CARRIERS = {
    "Token": ("text",),
    "Literal": ("value",),
    "Arg": ("value",),
    "Setting": ("value",),
    "Argument": ("value",),
    "NeighbourRule": ("radius",),
}


@dataclass(frozen=True)
class Hop:
    """One function, by its module and qualified name."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class Chain:
    """The functions that received a value.

    Attributes:
        hops: those from the text to the kernel, in the order of their first calls.
        aside: those that only look at it.
        upward: calls between hops from a lower layer to a higher one.
    """

    hops: list[Hop] = field(default_factory=list)
    aside: list[Hop] = field(default_factory=list)
    upward: list[tuple[Hop, Hop]] = field(default_factory=list)

    def common(self, other: Chain) -> Chain:
        """What occurs in both."""
        hops = [x for x in self.hops if x in other.hops]
        aside = [x for x in self.aside if x in other.aside and x not in hops]
        upward = [x for x in self.upward if x in other.upward]
        return Chain(hops, aside, upward)


Test = Callable[[object], bool]


def follow(run: Callable[[], object], is_value: Test) -> Chain:
    """The chain of a value while `run` runs."""
    chain = Chain()

    def watch(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(PACKAGE):
            return
        if code.co_name in INNER or code.co_name == "<module>" or not _receives(frame, is_value):
            return
        callers = list(_callers(frame))
        if any(str(x) in KERNELS for x in callers):
            return
        hop = _hop(code)
        group = chain.aside if any(_is_aside(x) for x in (hop, *callers)) else chain.hops
        if hop not in group:
            group.append(hop)
        if group is chain.aside:
            return
        caller = next(iter(callers), None)
        upward = caller in chain.hops and _height(caller) < _height(hop)
        if upward and (caller, hop) not in chain.upward:
            chain.upward.append((caller, hop))

    sys.setprofile(watch)
    try:
        run()
    finally:
        sys.setprofile(None)
    return chain


def _callers(frame: FrameType) -> Iterator[Hop]:
    """The functions of opdsl above, the nearest first, without comprehensions."""
    above = frame.f_back
    while above is not None:
        code = above.f_code
        if code.co_filename.startswith(PACKAGE) and code.co_name not in INNER:
            yield _hop(code)
        above = above.f_back


def _hop(code: CodeType) -> Hop:
    module = code.co_filename.removeprefix(PACKAGE).removesuffix(".py").replace("/", ".")
    return Hop(module.removesuffix(".__init__"), code.co_qualname.replace("<locals>.", ""))


def _in(path: str, names: Iterable[str]) -> list[str]:
    return [x for x in names if f"{path}.".startswith(f"{x}.")]


def _is_aside(hop: Hop) -> bool:
    return bool(_in(str(hop), ASIDE))


def _height(hop: Hop) -> int:
    heights = [
        (len(name), height)
        for height, names in enumerate(LAYERS)
        for name in _in(hop.module, names)
    ]
    return max(heights)[1] if heights else len(LAYERS)


# ----------------------------------------------------------------- what receives the value


def _receives(frame: FrameType, is_value: Test) -> bool:
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & 4) + bool(code.co_flags & 8)  # *args, **kwargs
    arguments = [frame.f_locals.get(x) for x in code.co_varnames[:count]]
    names = set(_names(code))
    return any(_holds(x, is_value, DEPTH) or _reads(x, names, is_value) for x in arguments)


def _names(code: CodeType) -> Iterator[str]:
    """The attributes that a function reads, its comprehensions included."""
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType) and inner.co_name in INNER:
            yield from _names(inner)


def _holds(x: object, is_value: Test, depth: int) -> bool:
    if is_value(x):
        return True
    return depth > 0 and any(_holds(y, is_value, depth - 1) for y in _inside(x))


def _inside(x: object) -> Iterable[object]:
    """What a container or a carrier holds."""
    kind = type(x)
    if isinstance(x, ParseNode):
        return x.children if len(x.children) == 1 else ()
    if kind.__module__.startswith("opdsl.") and kind.__name__ in CARRIERS:
        return [getattr(x, name, None) for name in CARRIERS[kind.__name__]]
    if kind in (tuple, list):
        return x if len(x) <= LONGEST else ()
    return list(x.values()) if kind is dict and len(x) <= LONGEST else ()


def _reads(x: object, names: set[str], is_value: Test) -> bool:
    """Whether the function reads the value from an attribute of the argument."""
    own: Mapping[str, object] = getattr(x, "__dict__", {})
    slots = getattr(type(x), "__slots__", ())
    values = [own[n] if n in own else getattr(x, n, None) for n in names if n in own or n in slots]
    return any(_holds(y, is_value, 2) for y in values if y is not None)


# --------------------------------------------------------------------------- the three values


MODES = """edition 2026
from std.fourier import FourierLayer
model Traced {{
  domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 64)
  input a : D -> R^3
  output u : D -> R^3
  u = a |> FourierLayer(modes = {0})
}}
"""
RADIUS = """edition 2026
model Traced {{
  domain P = points(2)
  domain Q = points(2)
  input a : P -> R^3
  output u : Q -> R^3
  u = a |> gno(to = Q, radius = {0}, kernel = [4])
}}
"""
PRECISION = """edition 2026
model Traced {{
  domain D = grid(x: 0..1)
  input a : D -> R^1
  output u : D -> R^1
  u = a |> linear(out = 1)
}}
train Traced {{
  precision = {0}
}}
"""


def modes(value: int) -> Chain:
    """The chain of `modes` in a Fourier layer of the library."""
    import torch

    import opdsl

    def is_value(x: object) -> bool:
        if isinstance(x, str):
            return x == str(value)
        band = isinstance(x, range) and x.stop == value + 1
        return band or (type(x) is int and x == value)

    x = torch.zeros(1, 3, 64, 72)
    return follow(lambda: opdsl.compile(MODES.format(value))(x), is_value)


def radius(value: float) -> Chain:
    """The chain of `radius` in an integral over points."""
    import torch

    import opdsl

    def is_value(x: object) -> bool:
        return x == str(value) if isinstance(x, str) else isinstance(x, float) and x == value

    points = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
    x = torch.zeros(1, 3, 40)
    return follow(lambda: opdsl.compile(RADIUS.format(value))(x, P=points, Q=points), is_value)


def precision(value: str) -> Chain:
    """The chain of `precision` from a train block to dtypes."""
    import torch

    from opdsl.compiler import check, train_settings
    from opdsl.lower.module import lower
    from opdsl.train.config.settings import resolve
    from opdsl.train.engine.precision import policy_of

    def is_value(x: object) -> bool:
        return isinstance(x, str) and x == value

    x = torch.zeros(1, 1, 8)

    def run() -> None:
        checked = check(PRECISION.format(value))
        settings = resolve(train_settings(checked)).settings
        policy, module = policy_of(settings.precision, x.device), lower(checked.sound())
        policy.prepare_module(module)
        with policy.arithmetic(), policy.autocast():
            module(policy.place(x))

    return follow(run, is_value)


TRACES: dict[str, tuple[Callable[..., Chain], tuple[object, ...]]] = {
    "modes": (modes, (22, 23, 26)),
    "radius": (radius, (0.375, 0.34375, 0.40625)),  # exact in float32
    "precision": (precision, ("fp32", "bf16", "fp64")),
}


def trace(name: str) -> Chain:
    """What receives the value `modes`, `radius` or `precision`."""
    function, (first, one, two) = TRACES[name]
    function(first)  # imports what is needed
    return function(one).common(function(two))


def main(names: list[str]) -> None:
    """Print the chains."""
    for name in names or TRACES:
        chain = trace(name)
        print(f"{name}: {len(chain.hops)} functions, {len(chain.upward)} calls back up")
        print("\n".join(f"    {x}" for x in chain.hops))
        print("".join(f"  up: {a} -> {b}\n" for a, b in chain.upward), end="")
        print(f"  aside: {len(chain.aside)}")
        print("\n".join(f"    {x}" for x in chain.aside))


if __name__ == "__main__":
    main(sys.argv[1:])
