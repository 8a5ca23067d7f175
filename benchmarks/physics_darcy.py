"""Darcy flow with a log-normal coefficient, learnt from the equation alone.

The training file holds 512 coefficients of `opdsl data generate darcy --kind lognormal` at 17x17
points and no solution; the loss is the mean square of the finite-volume residual. Test data are 100
solutions, computed at 129x129 points. Compared are an equal model that learns from the solutions
of the same coefficients by the relative L2 loss, for as many steps and with the same rate, and the
solution of the finite-volume equations themselves, which no model that minimises their residual
can pass except by luck.

    python benchmarks/physics_darcy.py --seeds 3
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, cg

import opdsl
from opdsl.data.generate.problems.darcy import generate
from opdsl.train.metrics.norms import GridAxes
from opdsl.train.physics.grid import GridCalculus

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "physics_darcy.json"
DATA = Path("runs/physics")
PROGRAM = HERE / "physics_darcy.op"
RESOLUTION, FINE = 17, 129
SIZES = {"train": 512, "test": 100}
FROM_DATA = {
    "data.path": str(DATA / "darcy_solved.npz"),
    "data.fields": {"pressure": "pressure"},
    "loss": "l2",
    "normalise": {"outputs": "none"},
}


def main() -> None:
    """Train what is missing, print, write."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seeds", type=int, default=3)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    write_data()
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    if not any(x["learns from"] == "finite volumes" for x in rows):
        rows.append({"learns from": "finite volumes", "seed": 0, "error": discrete_error()})
    for source in ("equation", "solutions"):
        for seed in range(chosen.seeds):
            if any(x["learns from"] == source and x["seed"] == seed for x in rows):
                continue
            rows.append({"learns from": source, "seed": seed, **train(source, seed)})
            print(rows[-1], flush=True)
            RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    text = table(rows)
    RESULTS.with_suffix(".md").write_text(text)
    print(text)


def write_data() -> None:
    """Generate coefficients and solutions, and store the coefficients alone."""
    for seed, part in enumerate(("train", "test")):
        solved = DATA / ("darcy_solved.npz" if part == "train" else "darcy_test.npz")
        if solved.exists():
            continue
        DATA.mkdir(parents=True, exist_ok=True)
        path = DATA / f"darcy_{part}.h5"
        generate(
            resolution=RESOLUTION,
            samples=SIZES[part],
            dims=2,
            fine=FINE,
            kind="lognormal",
            seed=seed,
            out=path,
        )
        fields = opdsl.open_dataset(path).values
        names = ("coefficient", "pressure")
        a, u = (torch.as_tensor(fields[k]).reshape(-1, 1, RESOLUTION, RESOLUTION) for k in names)
        np.savez(solved, coefficient=a.numpy(), pressure=u.numpy())
        if part == "train":
            np.savez(DATA / "darcy_train.npz", coefficient=a.numpy())


def train(source: str, seed: int) -> dict[str, float]:
    """Train once, and return the test error."""
    run = DATA / f"darcy_{source}_{seed}"
    changes = FROM_DATA if source == "solutions" else {}
    start = time.perf_counter()
    trained = opdsl.train(PROGRAM, out=run, seed=seed, **changes)
    row = trained.metrics.tests[0]
    return {"error": row["rel_l2"], "seconds": round(time.perf_counter() - start, 1)}


def discrete_error() -> float:
    """Return the mean relative L2 error of the finite-volume solution at the resolution."""
    values = np.load(DATA / "darcy_test.npz")
    calculus = GridCalculus(GridAxes.unit((False, False)))
    errors = []
    inner = RESOLUTION - 2
    for a, u in zip(values["coefficient"], values["pressure"], strict=True):
        coefficient = torch.as_tensor(a[None], dtype=torch.float64)

        def residual(x: np.ndarray, coefficient: torch.Tensor = coefficient) -> np.ndarray:
            full = torch.zeros(1, 1, RESOLUTION, RESOLUTION, dtype=torch.float64)
            full[..., 1:-1, 1:-1] = torch.as_tensor(x.reshape(inner, inner))
            return -calculus.diffusion(coefficient, full)[0, 0, 1:-1, 1:-1].numpy().ravel()

        count = inner * inner
        operator = LinearOperator((count, count), matvec=residual, dtype=np.float64)
        solution, _ = cg(operator, np.ones(count), rtol=1e-10)
        found = np.zeros((RESOLUTION, RESOLUTION))
        found[1:-1, 1:-1] = solution.reshape(inner, inner)
        errors.append(np.linalg.norm(found - u[0]) / np.linalg.norm(u[0]))
    return float(np.mean(errors))


def table(rows: list[dict]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Darcy flow with a log-normal coefficient",
        "",
        f"Relative L2 error on {SIZES['test']} test solutions at {RESOLUTION}x{RESOLUTION} points.",
        f"{SIZES['train']} training coefficients; see `benchmarks/physics_darcy.py`.",
        "",
        "| learns from | seeds | error | deviation | seconds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for source in dict.fromkeys(x["learns from"] for x in rows):
        some = [x for x in rows if x["learns from"] == source]
        errors = [x["error"] for x in some]
        spread = statistics.stdev(errors) if len(errors) > 1 else 0.0
        seconds = statistics.mean(x.get("seconds", 0.0) for x in some)
        lines.append(
            f"| {source} | {len(some)} | {statistics.mean(errors):.4f} | {spread:.4f} "
            f"| {seconds:.0f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
