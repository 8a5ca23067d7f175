"""What each precision costs in digits, beside what the grid costs, and what training makes of it.

    python benchmarks/precision.py [--samples 400] [--epochs 8] [--out benchmarks/results/precision]

Fresh weights, a smooth random input: the relative L2 error of the result against float64 for each
precision, and in float64 the distance of the results on a grid and on one twice as fine, at the
points that they share. Then a Darcy model is trained with each precision that a CPU has, from the
same weights and with the samples in the same order, and judged in that precision.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

import opdsl
from opdsl.train.engine.precision import PrecisionPolicy, policies

HERE = Path(__file__).parent
SPECS = HERE.parent / "specs"
# grids whose points at even numbers are those of the coarser one: with the last point, or without
GRIDS = {"fno_darcy": (60, 65, 129), "tfno_darcy": (60, 64, 128), "uno_darcy": (60, 64, 128)}
NARROW = ("fp32", "bf16", "bf16_spectral", "fp16", "fp16_spectral")
LEARNT = ("fp32", "bf16", "bf16_spectral")


def main() -> None:
    """Measure, write, print."""
    told = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    told.add_argument("--samples", type=int, default=400)
    told.add_argument("--epochs", type=int, default=8)
    told.add_argument("--out", type=Path, default=HERE / "results" / "precision")
    options = told.parse_args()
    torch.set_num_threads(1)
    found = {
        "torch": torch.__version__,
        "errors": {name: errors(name, *sizes) for name, sizes in GRIDS.items()},
        "samples": options.samples,
        "epochs": options.epochs,
        "trained": trained(options.samples, options.epochs),
    }
    options.out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    text = "\n".join(lines(found)) + "\n"
    options.out.with_suffix(".md").write_text(text)
    print(text)


# --- errors with fresh weights -----------------------------------------------------------------


def errors(name: str, other: int, n: int, fine: int) -> dict[str, dict[str, float]]:
    """By precision at two sizes, and the distance from the finer grid."""
    torch.manual_seed(0)
    module = opdsl.compile(SPECS / f"{name}.op").eval()
    exact = deepcopy(module).double()
    with torch.no_grad():
        truth = {size: exact(waves(size, ends=n % 2)) for size in (other, n, fine)}
        found = {
            way: {
                str(size): apart(computed(module, policy, waves(size, ends=n % 2)), truth[size])
                for size in (other, n)
            }
            for way, policy in policies(torch.device("cpu")).items()
            if way in NARROW
        }
    found["grid"] = {str(n): apart(truth[n], truth[fine][..., ::2, ::2])}
    return found


def computed(module: nn.Module, policy: PrecisionPolicy, x: Tensor) -> Tensor:
    """The result in a precision."""
    own = deepcopy(module)
    policy.prepare_module(own)
    with policy.autocast():
        y: Tensor = own(policy.place(x))
    return y


def waves(n: int, *, ends: int) -> Tensor:
    """A smooth function at n x n points of the unit square, with its upper ends or without."""
    random = torch.Generator().manual_seed(1)
    at = torch.arange(n, dtype=torch.float64) / (n - 1 if ends else n)
    x, y = torch.meshgrid(at, at, indexing="ij")
    found = torch.zeros(n, n, dtype=torch.float64)
    for i in range(-3, 4):
        for j in range(4):
            a, phase = torch.rand(2, generator=random, dtype=torch.float64)
            angle = 2 * math.pi * (i * x + j * y + phase)
            found += (a - 0.5) * angle.cos() / (1 + i * i + j * j)
    return found[None, None]


def apart(found: Tensor, truth: Tensor) -> float:
    """The relative L2 error."""
    return float((found.double() - truth).norm() / truth.norm())


# --- training ----------------------------------------------------------------------------------


def trained(samples: int, epochs: int) -> dict[str, dict[str, float]]:
    """The errors on test samples at two resolutions, by precision."""
    with TemporaryDirectory() as folder:
        for name, n, count, seed in (("train", 33, samples, 0), ("test", 65, 50, 1)):
            size = ("--resolution", n, "--samples", count, "--seed", seed)
            command(folder, "data", "generate", "darcy", *size, "--out", f"{name}.h5")
        return {way: judged(folder, way, epochs) for way in LEARNT}


def judged(folder: str, way: str, epochs: int) -> dict[str, float]:
    """Train and evaluate in one precision."""
    given = (
        "data.path=train.h5",
        "data.test=test.h5",
        "data.valid=none",
        f"schedule.epochs={epochs}",
        "device=cpu",
        "eval.resolutions=[33,65]",
    )
    sets = [x for each in given for x in ("--set", each)]
    spec = SPECS / "fno_darcy.op"
    command(folder, "train", spec, "--out", way, "--precision", way, *sets)
    told = command(folder, "evaluate", way, "--resolutions", "33,65", "--json")
    return {str(x["resolution"][0]): x["rel_l2"] for x in json.loads(told)["tests"]}


def command(folder: str, *words: object) -> str:
    """What the command line prints."""
    line: Sequence[str] = [sys.executable, "-m", "opdsl", *map(str, words)]
    done = subprocess.run(  # noqa: S603  our own command line
        line, cwd=folder, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    return done.stdout


# --- text --------------------------------------------------------------------------------------


def lines(found: dict) -> list[str]:
    """The tables."""
    text = [
        "# Precision",
        "",
        f"Made by `benchmarks/precision.py`, whose head says how. torch {found['torch']}, a CPU.",
        "`grid`: how far the results on that grid and on one twice as fine are apart, in float64,",
        "for smooth inputs and fresh weights. **Bold**: rounding is less. Rough data have",
        "a larger error of the grid, which hides more.",
        "",
        "| model | points | grid | " + " | ".join(NARROW) + " |",
        "|" + "---|" * (3 + len(NARROW)),
    ]
    for name, each in found["errors"].items():
        for size in each["fp32"]:
            grid = each["grid"].get(size)
            cells = [_cell(each[way][size], grid) for way in NARROW]
            told = "" if grid is None else f"{grid:.1e}"
            text.append(f"| {name} | {size} x {size} | {told} | {' | '.join(cells)} |")
    epochs, samples = found["epochs"], found["samples"]
    text += [
        "",
        f"`fno_darcy`, {epochs} epochs of {samples} samples of 33 x 33: error on 50 test samples,",
        "one run each, so that small differences say nothing.",
        "",
        "| precision | 33 x 33 | 65 x 65 |",
        "|---|---|---|",
    ]
    for way, each in found["trained"].items():
        text.append(f"| {way} | {each['33']:.4f} | {each['65']:.4f} |")
    return text


def _cell(error: float, grid: float | None) -> str:
    return f"**{error:.1e}**" if grid is not None and error < grid else f"{error:.1e}"


if __name__ == "__main__":
    main()
