"""Multi-grid domain decomposition: error and memory of models on patches and on the whole domain.

Three problems on the periodic square and cube: Allen-Cahn in 2-D and 3-D, whose solution at a point
depends on its surroundings (a diffusion length of 0.1), and Poisson in 2-D, where it depends on the
whole domain. The patches of each problem were chosen on validation samples among those of
`CANDIDATES`; `--choose` measures these. The errors of the table are those of test samples.

The memory of a step is what torch allocates at most in a step of training besides weights and
moments, by its profiler: results that are kept for the gradient, temporaries, and gradients.

A run that is in `benchmarks/results/multi_grid.json` already is not made again.

    python benchmarks/multi_grid.py --seeds 2
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "multi_grid.json"
DIFFUSIVITY, TIME, STEPS = 1e-3, 2.5, 40  # of Allen-Cahn
PROGRAM = """edition 2026

from std.fourier import FourierLayer
from std.pointwise import Lift, Project

model Operator {{
  domain D = grid({axes}, boundary = periodic, min = 17)
  input a : D -> R^1
  output u : D -> R^1

  u = a |> Lift(out = {width}) |> repeat {depth} {{ FourierLayer(modes = {modes}) }}
    |> Project(out = 1)
}}
"""


@dataclass(frozen=True)
class Case:
    """A problem, the model for the whole domain, and the resolution at which memory is measured."""

    dims: int
    points: int
    train: int
    width: int
    modes: int
    epochs: int
    batch: int
    large: int
    local: bool = True


CASES = {
    "allen-cahn-2d": Case(2, 64, 240, 20, 8, 24, 12, 128),
    "allen-cahn-3d": Case(3, 32, 64, 12, 6, 16, 4, 48),
    "poisson-2d": Case(2, 64, 240, 20, 8, 24, 12, 128, local=False),
}
WHOLE = {"parts": 1, "levels": 1, "overlap": 0.125}
CANDIDATES = [
    {"parts": 2, "levels": 0, "overlap": 0.125},
    {"parts": 2, "levels": 1, "overlap": 0.125},
    {"parts": 4, "levels": 0, "overlap": 0.25},
    {"parts": 4, "levels": 1, "overlap": 0.25},
]
CHOSEN = {
    "allen-cahn-2d": CANDIDATES[1],
    "allen-cahn-3d": CANDIDATES[1],
    "poisson-2d": CANDIDATES[1],
}


# --- data --------------------------------------------------------------------------------------


def samples(name: str, case: Case, count: int, seed: int) -> dict[str, Tensor]:
    """Inputs and outputs, (count, 1, *grid)."""
    generator = torch.Generator().manual_seed(seed)
    k2 = squared_wave_numbers(case)
    if case.local:
        a = random_field(case, count, k2, generator, lambda k: torch.exp(-k / (2 * math.pi * 6)))
        return {"a": a.float(), "u": allen_cahn(a, k2).float()}
    a = random_field(case, count, k2, generator, lambda k: 1 / (1 + (k / (4 * math.pi)) ** 2))
    u = filtered(a, torch.where(k2 > 0, 1 / k2.clamp(min=1.0), 0.0))
    return {"a": a.float(), "u": (40 * u).float()}


def squared_wave_numbers(case: Case) -> Tensor:
    n = case.points
    axes = [torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)] * (case.dims - 1)
    axes.append(torch.fft.rfftfreq(n, 1 / n, dtype=torch.float64))
    return sum((2 * math.pi * k) ** 2 for k in torch.meshgrid(*axes, indexing="ij"))


def filtered(x: Tensor, factor: Tensor) -> Tensor:
    dims = tuple(range(2, x.ndim))
    return torch.fft.irfftn(torch.fft.rfftn(x, dim=dims) * factor, s=x.shape[2:], dim=dims)


def random_field(case: Case, count: int, k2: Tensor, generator, spectrum) -> Tensor:
    """Gaussian fields of deviation 0.7 on the grid."""
    noise = torch.randn(
        count, 1, *[case.points] * case.dims, generator=generator, dtype=torch.float64
    )
    x = filtered(noise, spectrum(k2.sqrt()) * (k2 > 0))
    return 0.7 * x / x.std()


def allen_cahn(u: Tensor, k2: Tensor) -> Tensor:
    """The solution at `TIME` of u_t = D Laplace u + u - u^3, by Strang splitting; each part is exact."""
    h = TIME / STEPS
    half = torch.exp(-DIFFUSIVITY * k2 * h / 2)
    for _ in range(STEPS):
        u = filtered(u, half)
        u = u * math.exp(h) / torch.sqrt(1 + u**2 * (math.exp(2 * h) - 1))
        u = filtered(u, half)
    return u


# --- runs --------------------------------------------------------------------------------------


def program(case: Case, patches: dict[str, float]) -> str:
    """The model; on a patch with the modes of equal wavelengths, at least."""
    axes = ", ".join(f"{x}: 0..1" for x in "xyz"[: case.dims])
    part = (1 + 2 * patches["overlap"]) / patches["parts"] if patches["parts"] > 1 else 1
    modes = max(4, math.ceil(case.modes * part))
    return PROGRAM.format(axes=axes, width=case.width, depth=3, modes=modes)


def train(name: str, patches: dict[str, float], seed: int, *, test: bool) -> dict[str, object]:
    """Train once, and measure the errors on validation and, if wanted, test samples."""
    import opdsl

    case = CASES[name]
    data, valid = samples(name, case, case.train, 1), samples(name, case, case.train // 6, 2)
    more = {"test": samples(name, case, case.train // 4, 3)} if test else {}
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run = opdsl.train(
            program(case, patches),
            data=data,
            valid=valid,
            out=Path(folder) / "run",
            warn=lambda _: None,
            epochs=case.epochs,
            batch=case.batch,
            seed=seed,
            optimizer={"kind": "adamw", "lr": 4e-3, "weight_decay": 1e-4},
            schedule={"kind": "one_cycle"},
            patches=patches,
            **more,
        )
        errors = {k: run.about["finished"][k][0]["rel_l2"] for k in ("valid", "tests")[: 1 + test]}
    seconds = time.process_time() - start
    params = sum(p.numel() for p in run.module.parameters())
    return {"case": name, **patches, "seed": seed, **errors, "seconds": seconds, "weights": params}


def peak(name: str, patches: dict[str, float]) -> float:
    """MiB that torch has allocated at most in a step of training, beyond what it had before."""
    import opdsl

    case = CASES[name]
    x = torch.randn(case.batch, 1, *[case.large] * case.dims)
    training = opdsl.prepare_training(
        program(case, patches),
        data={"a": x, "u": x},
        valid="none",
        warn=lambda _: None,
        batch=case.batch,
        patches=patches,
    )
    batch = next(training.batches(0))
    training.step.begin()
    training.step.learn(batch, 1e-3)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        training.step.learn(batch, 1e-3)
    allocated = most = 0
    for event in profiled.profiler.kineto_results.events():
        if event.name() == "[memory]":
            allocated += event.nbytes()
            most = max(most, allocated)
    return most / 2**20


# --- tables ------------------------------------------------------------------------------------


def key(run: dict[str, object]) -> tuple[object, ...]:
    return tuple(run[k] for k in ("case", "parts", "levels", "overlap", "seed"))


def table(runs: list[dict[str, object]]) -> str:
    """Errors of test samples and memory, for the chosen patches."""
    lines = [
        "| problem | model | weights | rel. L2, test | memory of a step | processor time |",
        "|---|---|---|---|---|---|",
    ]
    for name in CASES:
        rows = [x for x in runs if x["case"] == name and "tests" in x]
        whole = [x for x in rows if x["parts"] == 1]
        for label, some in (("whole", whole), ("patches", [x for x in rows if x["parts"] > 1])):
            if not (some and whole):
                continue
            errors = [x["tests"] for x in some]
            mean, of_whole = statistics.mean(errors), statistics.mean(x["tests"] for x in whole)
            memory, of_all = some[0]["peak"], whole[0]["peak"]
            patches = f"{some[0]['parts']} parts, {some[0]['levels']} levels, {some[0]['overlap']}"
            seconds = statistics.mean(x["seconds"] for x in some)
            lines.append(
                f"| {name} | {label if label == 'whole' else patches} | {some[0]['weights']:,} | "
                f"{mean:.4f} ({mean / of_whole - 1:+.1%}; {len(some)} seeds) | "
                f"{memory:.0f} MiB ({memory / of_all:.2f}) | {seconds:.0f} s |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make the missing runs, then the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seeds", type=int, default=2)
    options.add_argument("--choose", action="store_true")
    options.add_argument("--case", choices=CASES, action="append")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    runs = json.loads(RESULTS.read_text()) if RESULTS.is_file() else []
    for name in chosen.case or CASES:
        some = [WHOLE, *CANDIDATES] if chosen.choose else [WHOLE, CHOSEN[name]]
        for seed in range(1 if chosen.choose else chosen.seeds):
            for patches in some:
                wanted = key({"case": name, **patches, "seed": seed})
                if any(key(x) == wanted and ("tests" in x or chosen.choose) for x in runs):
                    continue
                run = train(name, patches, seed, test=not chosen.choose)
                run["peak"] = peak(name, patches)
                runs = [x for x in runs if key(x) != wanted] + [run]
                RESULTS.write_text(json.dumps(runs, indent=1) + "\n")
                print(run, flush=True)
    text = table(runs)
    print(text)
    RESULTS.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
