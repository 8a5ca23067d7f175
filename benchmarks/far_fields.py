"""Fits the potential of charges on irregular points by kernel integrals of as many pairs.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/far_fields.py --write

The target is u(x) = sum over y of log(|x - y|^2 + 0.02^2) f(y) / n, from everywhere to everywhere,
f some bumps of both signs, x and y the same random points of the unit square, other ones in each
sample. Four operators that differ in nothing but the block for K: `multipole_gno`, which has a
kernel for each pair of levels, a `gno` whose radius gives as many pairs, the same with about as
many parameters, and a `gno` whose radius reaches everything. All see the same samples in
the same order for the same number of steps. Errors are relative, in the norm over the points, on
samples that none has seen: with as many points, and with four times as many, where nothing is
fitted again. Times are of a step, on a machine with other work. `--write` writes
`results/far_fields.md`.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import opdsl
from opdsl.nn.points.geometry import Geometry
from opdsl.nn.points.neighbours import search as neighbours

POINTS, BATCH, TRAINED, TESTED = 256, 4, 64, 16
SOFT = 0.02
RESULTS = Path(__file__).parent / "results" / "far_fields.md"
PROGRAM = """edition 2026
model Potential {{
  domain P = points(2, geometry = per_sample, measure = given)
  input f : P -> R^1
  output u : P -> R^1
  v = concat(f, coords(P)) |> linear(out = 16)
  u = v |> {block} |> mlp(widths = [16, 32, 1])
}}"""
KERNEL = "kernel = [32, 32]"
BLOCKS = {
    "multipole_gno, 5 levels from 0.1": f"multipole_gno(levels = 5, radius = 0.1, {KERNEL})",
    "gno, radius {radius:.2f}": "gno(to = P, radius = {radius}, reduction = integral, "
    + KERNEL
    + ")",
    "gno, radius {radius:.2f}, wide kernel": (
        "gno(to = P, radius = {radius}, reduction = integral, kernel = [144, 144])"
    ),
    "gno, radius 1.5": f"gno(to = P, radius = 1.5, reduction = integral, {KERNEL})",
}


@dataclass(frozen=True)
class Sample:
    """Points, charges (1, n) and the potential (1, n)."""

    place: Geometry
    charge: Tensor
    potential: Tensor


def sample(n: int, seed: int) -> Sample:
    """One cloud."""
    made = torch.Generator().manual_seed(seed)
    points = torch.rand(n, 2, generator=made)
    centres, heights = torch.rand(6, 2, generator=made), torch.randn(6, generator=made)
    charge = (-(torch.cdist(points, centres) / 0.1).square() / 2).exp() @ heights
    logs = (torch.cdist(points, points).square() + SOFT**2).log()
    potential = 10 * logs @ charge / n
    return Sample(Geometry(points, torch.full((n,), 1 / n)), charge[None], potential[None])


def error(module: torch.nn.Module, samples: list[Sample]) -> float:
    """Relative, the mean over samples."""
    with torch.no_grad():
        found = [module(x.charge[None], P=x.place)[0] for x in samples]
    pairs = zip(found, samples, strict=True)
    return float(
        torch.stack([(u - x.potential).norm() / x.potential.norm() for u, x in pairs]).mean()
    )


def pairs_of(module: torch.nn.Module, one: Sample) -> int:
    """What the block searches for one sample, all kernels together."""
    counted, search = [], neighbours.neighbours

    def spied(*given: object) -> neighbours.Pairs:
        found = search(*given)  # type: ignore[arg-type]  # as they came
        counted.append(len(found))
        return found

    from opdsl.nn.points.integral import gno

    gno.neighbours = spied  # type: ignore[assignment]  # put back below
    try:
        error(module, [one])
    finally:
        gno.neighbours = search
    return sum(counted)


def fitted(block: str, steps: int, seed: int) -> tuple[torch.nn.Module, float]:
    """The module behind its steps, and the least seconds of one."""
    torch.manual_seed(seed)
    module = opdsl.compile(PROGRAM.format(block=block))
    samples = [sample(POINTS, s) for s in range(TRAINED)]
    optimizer = torch.optim.Adam(module.parameters(), lr=5e-3)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    order, spent = torch.Generator().manual_seed(seed), []
    for _ in range(steps):
        rows = torch.randperm(TRAINED, generator=order)[:BATCH].tolist()
        begun = time.perf_counter()
        charge = torch.stack([samples[i].charge for i in rows])
        wanted = torch.stack([samples[i].potential for i in rows])
        given = module(opdsl.Packed.of(charge), P=[samples[i].place for i in rows])
        found = torch.stack(given.parts)
        off = (found - wanted).flatten(1).norm(dim=1) / wanted.flatten(1).norm(dim=1)
        optimizer.zero_grad()
        off.mean().backward()
        optimizer.step()
        plan.step()
        spent.append(time.perf_counter() - begun)
    return module, min(spent)


def radius_for(pairs: int) -> float:
    """The radius that gives so many pairs of a sample."""
    apart = torch.cdist(*[sample(POINTS, 0).place.points] * 2).flatten()
    return round(float(apart.sort().values[pairs]), 4)


def main() -> None:
    """Fit all and print the table."""
    told = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    told.add_argument("--steps", type=int, default=300)
    told.add_argument("--seeds", type=int, default=1)
    told.add_argument("--write", action="store_true")
    given = told.parse_args()
    alike = [sample(POINTS, 1000 + s) for s in range(TESTED)]
    finer = [sample(4 * POINTS, 2000 + s) for s in range(TESTED // 4)]
    rows, radius = [], 0.0
    for name, block in BLOCKS.items():
        errors, pairs, least, weights = [], 0, 0.0, 0
        for seed in range(given.seeds):
            module, least = fitted(block.format(radius=radius), given.steps, seed)
            pairs = pairs_of(module, alike[0])
            weights = sum(p.numel() for p in module.parameters())
            errors.append((error(module, alike), error(module, finer)))
        radius = radius or radius_for(pairs)
        here, there = torch.tensor(errors).mean(0).tolist()
        told_as = name.format(radius=radius)
        figures = f"{weights:,} | {pairs:,} | {1e3 * least:.0f} | {here:.3f} | {there:.3f}"
        rows.append(f"| {told_as} | {figures} |")
        print(rows[-1], flush=True)
    if given.write:
        RESULTS.write_text(text(rows, given.steps, given.seeds), encoding="utf-8")


def text(rows: list[str], steps: int, seeds: int) -> str:
    """The page of results."""
    return "\n".join(
        (
            "# Far fields on irregular points",
            "",
            f"By `benchmarks/far_fields.py --steps {steps} --seeds {seeds}`, samples of {POINTS}",
            f"points, {TRAINED} of them, {steps} steps of {BATCH}.",
            "",
            f"| K | parameters | pairs | ms a step | error | error, {4 * POINTS} points |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
        )
    )


if __name__ == "__main__":
    main()
