"""Burgers' equation from data, and from data and the equation, at 10, 100 and 1000 solutions.

One program (`physics_burgers.op`) learns three ways, for 1000 steps in batches of 8 each:

- `data`: the relative L2 error of N solutions.
- `data and equation`: of the same N solutions, also 0.01 times the mean square of the residual.
- `data, equation at 1000`: of 1000 first states, N of which have solutions; a first state without
  a solution costs nothing but the equation. Few batches then have a solution where N is small.

First states are sums of three waves with random coefficients; solutions at 24 points and 11 times
come from a pseudo-spectral method with integrating factors and Runge-Kutta steps of fourth order,
whose agreement with twice the points and steps is checked. The error is the mean relative L2 error
over 200 test solutions, measured once with the last weights. The rate and the weight of the
equation were chosen once, in trials with other times and viscosities; nothing was chosen by the
test data.

    python benchmarks/physics_burgers.py --seeds 0 1 2
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import opdsl

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "physics_burgers.json"
DATA = Path("runs/physics")
PROGRAM = HERE / "physics_burgers.op"
VISCOSITY, END, TIMES = 0.05, 0.4, 11
SOLVED = (10, 100, 1000)
INPUTS, TEST, STEPS, BATCH = 1000, 200, 1000, 8
BOTH = "rel_l2(u) + 0.01 * mse(burgers(u, 0.05))"
WAYS = {"data": "rel_l2(u)", "data and equation": BOTH, "data, equation at 1000": BOTH}


def main() -> None:
    """Train what is missing, print, write."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    chosen = options.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", opdsl.OpWarning)  # of samples without truth
    write_data()
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    for seed in chosen.seeds:
        for count in SOLVED:
            for way in WAYS:
                row = {"learns from": way, "solutions": count, "seed": seed}
                if way == "data, equation at 1000" and count == INPUTS:
                    continue  # as `data and equation`
                if any(row.items() <= x.items() for x in rows):
                    continue
                rows.append(row | train(way, count, seed))
                print(rows[-1], flush=True)
                RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    text = table(rows)
    RESULTS.with_suffix(".md").write_text(text)
    print(text)


def first_states(count: int, seed: int, points: int) -> Tensor:
    """Return (count, points) sums of waves with normal coefficients of variance 1/(4 k)."""
    random = torch.Generator().manual_seed(seed)
    k = torch.arange(1, 4, dtype=torch.float64)
    c = 0.5 * torch.randn(count, 2, 3, generator=random, dtype=torch.float64) / k.sqrt()
    angles = 2 * math.pi * k[:, None] * torch.arange(points, dtype=torch.float64) / points
    return c[:, 0] @ angles.cos() + c[:, 1] @ angles.sin()


def solve(u: Tensor, steps: int) -> Tensor:
    """Return (count, points, times), from `steps` steps between two times.

    Source: Trefethen 2000, doi:10.1137/1.9780898719598, program 27.
    """
    n = u.shape[1]
    k = 2 * math.pi * torch.fft.rfftfreq(n, 1 / n).double()
    dt = END / (TIMES - 1) / steps
    half = torch.exp(-VISCOSITY * k**2 * dt / 2)
    resolved = k < 2 * math.pi * n / 3

    def flux(v: Tensor) -> Tensor:
        return -0.5j * k * torch.fft.rfft(torch.fft.irfft(v, n=n) ** 2) * resolved

    v, states = torch.fft.rfft(u), [u]
    for _ in range(TIMES - 1):
        for _ in range(steps):
            a = flux(v)
            b = flux(half * (v + dt / 2 * a))
            c = flux(half * v + dt / 2 * b)
            d = flux(half**2 * v + dt * half * c)
            v = half**2 * v + dt / 6 * (half**2 * a + 2 * half * (b + c) + d)
        states.append(torch.fft.irfft(v, n=n))
    return torch.stack(states, -1)


def write_data() -> None:
    """Solve, and write files with all solutions, and with those of the first N samples alone."""
    if (DATA / "burgers_test.npz").exists():
        return
    DATA.mkdir(parents=True, exist_ok=True)
    coarse, fine = (solve(first_states(4, 0, n), s) for n, s in ((96, 20), (192, 40)))
    assert (coarse - fine[:, ::2]).abs().max() < 1e-6
    sets = {}
    for seed, (part, count) in enumerate((("train", INPUTS), ("test", TEST))):
        u = solve(first_states(count, seed, 96), 20)[:, ::4, :].float()[:, None].numpy()
        sets[part] = {"initial": np.broadcast_to(u[..., :1], u.shape), "u": u}
    for count in SOLVED:
        np.savez(DATA / f"burgers_{count}.npz", **{k: x[:count] for k, x in sets["train"].items()})
        u = sets["train"]["u"].copy()
        u[count:] = np.nan
        some = {"initial": sets["train"]["initial"], "u": u}
        np.savez(DATA / f"burgers_{count}_of_{INPUTS}.npz", **some)
    np.savez(DATA / "burgers_test.npz", **sets["test"])


def train(way: str, count: int, seed: int) -> dict[str, float]:
    """Train once, and return the test error."""
    inputs = INPUTS if way == "data, equation at 1000" else count
    name = f"burgers_{count}_of_{INPUTS}" if inputs > count else f"burgers_{count}"
    run = DATA / f"{name}_{list(WAYS).index(way)}_{seed}"
    start = time.perf_counter()
    trained = opdsl.train(
        PROGRAM,
        data=DATA / f"{name}.npz",
        valid="none",
        test=DATA / "burgers_test.npz",
        out=run,
        seed=seed,
        loss=WAYS[way],
        **{"data.missing": "mask"},
        epochs=STEPS // -(-inputs // BATCH),
    )
    row = trained.metrics.tests[0]
    return {"error": row["rel_l2"], "seconds": round(time.perf_counter() - start, 1)}


def table(rows: list[dict]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Burgers' equation from data and from data and the equation",
        "",
        f"Relative L2 error on {TEST} test solutions after {STEPS} steps; mean and standard",
        "deviation over seeds, whose number is in brackets. See `benchmarks/physics_burgers.py`.",
        "",
        "| learns from | " + " | ".join(f"{n} solutions" for n in SOLVED) + " |",
        "| --- |" + " --- |" * len(SOLVED),
    ]
    for way in WAYS:
        cells = []
        for count in SOLVED:
            errors = [
                x["error"] for x in rows if x["learns from"] == way and x["solutions"] == count
            ]
            spread = f" ± {statistics.stdev(errors):.4f} ({len(errors)})" if len(errors) > 1 else ""
            cells.append(f"{statistics.mean(errors):.4f}{spread}" if errors else "as above")
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
