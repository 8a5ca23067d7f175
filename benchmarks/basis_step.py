"""A training step in bases of half-waves beside Fourier layers of equal degrees of freedom.

    OMP_NUM_THREADS=1 [PYTHONPATH=CHECKOUT] python benchmarks/basis_step.py [--rounds N] [CASE ...]

A step is a forward and a backward pass in float32, batch 20 (3-D: 2), width 32. All competitors of
a case run in one process and take turns, a step each; figures are medians over the rounds of the
ratio to the fused Fourier layer in the same round. The weight of a spectral convolution has at
least as many real numbers in the half-waves (sines and cosines together) as in the exponentials,
whose matrices are complex. CHECKOUT is a checkout of neuraloperator, whose FNO has these
frequencies too; without one it is left out. Kept memory: the bytes that a forward pass saves for
the backward pass, weights excluded. Writes `results/basis_step.md`.
"""

import argparse
import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from against.tables import machine
from torch import nn
from torch.nn import functional

import opdsl
from opdsl.nn.spectral.half_waves.transforms import analysis, synthesis

OUT = Path(__file__).parent / "results" / "basis_step.md"
WIDTH = 32
REFERENCE = "Fourier, fused"
NAMES = (
    REFERENCE,
    "half-waves, fused",
    "Fourier, padded by 1/4",
    "half-waves, node by node",
    "half-waves by einsum",
    "neuraloperator",
)
SPEC = """edition 2026
from std.fourier import FNOBlock
from std.pointwise import Lift, Project
from std.spectral import SpectralBlock

model M {{
  domain D = grid({axes}, boundary = {boundary}, min = {least})
{more}  input a : D -> R^{channels}
  output u : D -> R^{channels}
  u = a {body}
}}"""
HEAD = """# A training step in bases of half-waves

`benchmarks/basis_step.py`: forward and backward pass, float32, one thread, width {width}; {words}
torch {torch}. Sines and cosines together, with at least as many real numbers in the weight of a
spectral convolution as the Fourier layer. Time is a ratio to the fused Fourier layer in the same
round, the median of {rounds} rounds (less is faster); in brackets the memory kept for the backward
pass, relative to its memory.

"""


@dataclass(frozen=True)
class Case:
    """Points of each axis, |k| <= m of the Fourier layer, functions of each axis, batch, layers."""

    grid: tuple[int, ...]
    waves: tuple[int, ...]
    functions: tuple[int, ...]
    batch: int
    layers: int

    @property
    def title(self) -> str:
        """For the table."""
        what = "one layer" if self.layers == 1 else f"{self.layers} layers, lifting, projection"
        return f"{'x'.join(map(str, self.grid))}, batch {self.batch}, {what}"

    @property
    def numbers(self) -> tuple[int, int]:
        """Real numbers of R for each pair of channels: exponentials, half-waves."""
        *others, last = self.waves
        exponentials = 2 * math.prod(2 * m + 1 for m in others) * (last + 1)
        return exponentials, 2 * math.prod(self.functions)


CASES = {
    f"{name}{'' if layers == 1 else '-model'}": Case(*sizes, layers)
    for name, sizes in {
        "1d": ((1024,), (16,), (17,), 20),
        "33": ((33, 33), (12, 12), (19, 18), 20),
        "65": ((65, 65), (12, 12), (19, 18), 20),
        "129": ((129, 129), (12, 12), (19, 18), 20),
        "3d": ((24, 24, 24), (5, 5, 5), (9, 9, 9), 2),
    }.items()
    for layers in (1, 4)
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    text = HEAD.format(width=WIDTH, rounds=options.rounds, **machine())
    text += "| | numbers of R | " + " | ".join(NAMES) + " |\n" + "|---" * (len(NAMES) + 2) + "|\n"
    for name in options.cases or CASES:
        case = CASES[name]
        line = row(case, measured(case, options.rounds))
        print(line, flush=True)
        text += line + "\n"
        if not options.cases:  # as far as it is: the largest case takes minutes
            OUT.write_text(text)


def row(case, results):
    """One line of the table."""
    _, bytes_of_reference, ms = results[REFERENCE]
    numbers = " and ".join(map(str, case.numbers))
    cells = [case.title, numbers, f"1 ({ms:.0f} ms, {bytes_of_reference / 2**20:.0f} MiB)"]
    for name in NAMES[1:]:
        ratio, kept, _ = results.get(name, (None, None, None))
        cells.append(f"{ratio:.2f} ({kept / bytes_of_reference:.2f})" if ratio else "-")
    return "| " + " | ".join(cells) + " |"


def measured(case, rounds):
    """For each competitor the ratio of times, kept bytes, and milliseconds."""
    runs = dict(competitors(case))
    for run in runs.values():
        step(run)
    times = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            step(run)
            times[name].append(time.perf_counter() - began)
    reference = times[REFERENCE]
    return {
        name: (
            statistics.median(a / b for a, b in zip(seconds, reference, strict=True)),
            kept_bytes(*runs[name]),
            1e3 * statistics.median(seconds),
        )
        for name, seconds in times.items()
    }


def step(run):
    """One training step without the optimizer."""
    model, x = run
    model.zero_grad()
    x.grad = None
    model(x).square().mean().backward()


def kept_bytes(model, x):
    """Bytes that a forward pass keeps for the backward pass; views of one storage count once."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def keep(y):
        storage = y.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), y)  # `y`: no address is used again
        return y

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda y: y):
        model(x).square().mean()
    return sum(size for size, _ in kept.values())


# --- competitors ----------------------------------------------------------------------------------


def competitors(case):
    """Yield the name of each, its model and its input."""
    channels = WIDTH if case.layers == 1 else 1
    x = torch.randn(case.batch, channels, *case.grid, requires_grad=case.layers == 1)
    half_waves = f"SpectralBlock(modes = {shown(case.functions)}, {{}})"
    yield REFERENCE, (compiled(case, "periodic", f"FNOBlock(modes = {shown(case.waves)}, {{}})"), x)
    yield "half-waves, fused", (compiled(case, "dirichlet", half_waves), x)
    padded = compiled(case, "dirichlet", f"FNOBlock(modes = {shown(case.waves)}, {{}})", pad=True)
    yield "Fourier, padded by 1/4", (padded, x)
    plain = compiled(case, "dirichlet", half_waves)
    plain.fuse = False
    yield "half-waves, node by node", (plain, x)
    yield "half-waves by einsum", (ByEinsum(case), x)
    theirs = neuraloperator(case)
    if theirs is not None:
        yield "neuraloperator", (theirs, x)


def compiled(case, boundary, block, *, pad=False):
    """A model of layers of a block; `pad`: a quarter of each axis is zero behind its end."""
    layers = f"|> repeat {case.layers} as i {{ {block.format(act(case))} }}"
    if pad:
        layers = f"|> pad(to = E) {layers} |> crop(to = D)"
    if case.layers > 1:
        layers = f"|> Lift(out = {WIDTH}) {layers} |> Project(out = 1)"
    axes = ", ".join(f"{x}: 0..1" for x in "xyz"[: len(case.grid)])
    least = 2 * max(case.waves) + 1
    channels = WIDTH if case.layers == 1 else 1
    return opdsl.compile(
        SPEC.format(
            axes=axes,
            boundary=boundary,
            least=least,
            more="  domain E = extend(D, fraction = 0.25)\n" if pad else "",
            channels=channels,
            body=layers,
        )
    )


def act(case):
    """The activation of layer i: none behind the last layer of a model."""
    return "act = gelu" if case.layers == 1 else "act = if i < 3 then gelu else identity"


def shown(modes):
    """Modes as in a program."""
    return f"({', '.join(map(str, modes))})" if len(modes) > 1 else str(modes[0])


class ByEinsum(nn.Module):
    """The model with half-waves as one would write it in PyTorch: products along axes, einsum."""

    def __init__(self, case):
        super().__init__()
        self.layers = nn.ModuleList(EinsumLayer(case) for _ in range(case.layers))
        ends = case.layers > 1
        self.lift = mlp(1, 128, WIDTH) if ends else nn.Identity()
        self.project = mlp(WIDTH, 128, 1) if ends else nn.Identity()

    def forward(self, x):
        """(batch, channels, *grid), twice."""
        v = self.lift(x.movedim(1, -1))
        for i, layer in enumerate(self.layers):
            v = layer(v)
            v = functional.gelu(v) if len(self.layers) == 1 or i < 3 else v
        return self.project(v).movedim(-1, 1)


class EinsumLayer(nn.Module):
    """MLP(gelu(K v + W v)) + g v."""

    def __init__(self, case):
        super().__init__()
        like, self.axes = torch.empty(0), len(case.grid)
        for t, family in enumerate(("sine", "cosine")):
            for i, (n, m) in enumerate(zip(case.grid, case.functions, strict=True)):
                self.register_buffer(f"cut{t}{i}", analysis(family, "both", n, m, like))
                self.register_buffer(f"grow{t}{i}", synthesis(family, "both", n, m, like))
        shape = (2, *case.functions, WIDTH, WIDTH)
        self.R = nn.Parameter(torch.randn(shape) / WIDTH)
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.mlp = mlp(WIDTH, WIDTH // 2, WIDTH)
        self.gate = nn.Parameter(torch.ones(WIDTH))

    def forward(self, v):
        """(batch, *grid, channels), twice."""
        z = self.linear(v) + self.term(v, 0) + self.term(v, 1)
        return self.mlp(functional.gelu(z)) + self.gate * v

    def term(self, v, t):
        """F_t^-1(R_t F_t v), an axis at a time."""
        grid, modes = "xyz"[: self.axes], "klm"[: self.axes]
        for i in reversed(range(self.axes)):
            there = grid[:i] + modes[i:]
            here = grid[: i + 1] + modes[i + 1 :]
            cut = getattr(self, f"cut{t}{i}")
            v = torch.einsum(f"b{here}c,{modes[i]}{grid[i]}->b{there}c", v, cut)
        v = torch.einsum(f"b{modes}c,{modes}co->b{modes}o", v, self.R[t])
        for i in range(self.axes):
            there = grid[: i + 1] + modes[i + 1 :]
            here = grid[:i] + modes[i:]
            grow = getattr(self, f"grow{t}{i}")
            v = torch.einsum(f"b{here}c,{grid[i]}{modes[i]}->b{there}c", v, grow)
        return v


def mlp(c, h, o):
    """A pointwise network."""
    return nn.Sequential(nn.Linear(c, h), nn.GELU(), nn.Linear(h, o))


def neuraloperator(case):
    """An FNO of neuraloperator with these frequencies, or None: not importable, or one layer."""
    if case.layers == 1:
        return None
    try:
        from neuralop.models import FNO
    except ImportError:
        return None
    modes = tuple(2 * m for m in case.waves)
    return FNO(n_modes=modes, in_channels=1, out_channels=1, hidden_channels=WIDTH)


if __name__ == "__main__":
    main()
