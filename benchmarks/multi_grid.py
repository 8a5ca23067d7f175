"""Multi-grid domain decomposition: error and memory of models on patches and on the whole domain.

Three problems on the periodic square and cube: Allen-Cahn in 2-D and 3-D, whose solution at a point
depends on its surroundings (the diffusion lengths are 0.045 and 0.063), and Poisson in 2-D, where
it depends on the whole domain. Both models have equal width, depth, steps and batches; on a patch
there are fewer modes, whose shortest wave is equal within 7 %. Errors are those of test samples
after the last step; the patches with the least error of validation samples, over the seeds, are
marked. The linear filter, a factor for each wave number fitted to the training samples, stands
beside.

The memory of a step is what torch allocates at most in a step of training besides weights and
moments, by its profiler: results that are kept for the gradient, temporaries, and gradients. It is
measured at 128 points on each axis in 2-D and 48 in 3-D, with half a batch of patches at once,
which changes the gradient by rounding only.

A run that is in `benchmarks/results/multi_grid.json` already is not made again.

    python benchmarks/multi_grid.py --seeds 3
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from against.measures import allocated
from torch import Tensor

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "multi_grid.json"
STEPS = 20  # in time, of Allen-Cahn
PROGRAM = """edition 2026

from std.fourier import FourierLayer
from std.pointwise import Lift, Project

model Operator {{
  domain D = grid({axes}, boundary = periodic, min = {least})
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
    diffusivity: float | None


CASES = {
    "allen-cahn-2d": Case(2, 32, 96, 10, 10, 40, 8, 128, 5e-4),
    "allen-cahn-3d": Case(3, 20, 40, 8, 7, 40, 4, 48, 1e-3),
    "poisson-2d": Case(2, 32, 96, 10, 10, 40, 8, 128, None),
}
WHOLE = {"parts": 1, "levels": 0, "overlap": 0.0}
CANDIDATES = [
    {"parts": 2, "levels": 1, "overlap": 0.2},
    {"parts": 2, "levels": 0, "overlap": 0.2},
    {"parts": 2, "levels": 1, "overlap": 0.3},
]


# --- data --------------------------------------------------------------------------------------


def samples(case: Case, count: int, seed: int) -> dict[str, Tensor]:
    """Inputs and outputs, (count, 1, *grid)."""
    generator = torch.Generator().manual_seed(seed)
    k2 = squared_wave_numbers(case)
    if case.diffusivity is not None:
        a = random_field(case, count, k2, generator, lambda k: torch.exp(-k / (2 * math.pi * 6)))
        return {"a": a.float(), "u": allen_cahn(a, case.diffusivity * k2).float()}
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


def allen_cahn(u: Tensor, decay: Tensor) -> Tensor:
    """Solve u_t = D Laplace u + u - u^3 up to time 1 by Strang splitting; each part is exact."""
    h = 1 / STEPS
    half = torch.exp(-decay * h / 2)
    for _ in range(STEPS):
        u = filtered(u, half)
        u = u * math.exp(h) / torch.sqrt(1 + u**2 * (math.exp(2 * h) - 1))
        u = filtered(u, half)
    return u


# --- runs --------------------------------------------------------------------------------------


def program(case: Case, patches: dict[str, float]) -> str:
    """The model; on a patch with the modes of nearly equal wavelengths."""
    axes = ", ".join(f"{x}: 0..1" for x in "xyz"[: case.dims])
    part = (1 + 2 * patches["overlap"]) / patches["parts"] if patches["parts"] > 1 else 1
    modes = round(case.modes * part)
    return PROGRAM.format(axes=axes, width=case.width, depth=3, modes=modes, least=2 * modes + 1)


def train(name: str, patches: dict[str, float], seed: int) -> dict[str, object]:
    """Train once, and measure the errors of the last weights."""
    case = CASES[name]
    data, valid, unseen = (
        samples(case, n, i) for i, n in enumerate((case.train, case.train // 4, case.train // 4))
    )
    more = {"seed": seed, "batch": case.batch, "epochs": case.epochs}
    more |= {"optimizer": {"kind": "adamw", "lr": 6e-3, "weight_decay": 1e-4}}
    training = prepared(case, patches, data, schedule={"kind": "one_cycle"}, **more)
    start, step = time.process_time(), 0
    training.step.begin()
    for epoch in range(case.epochs):
        for batch in training.batches(epoch):
            training.step.learn(batch, training.rate(step), step, epoch)
            step += 1
    seconds = time.process_time() - start
    operator = training.operator().eval()
    errors = {"valid": error(operator, valid), "test": error(operator, unseen)}
    weights = sum(p.numel() for p in operator.module.parameters())
    return {"case": name, **patches, "seed": seed, **errors, "seconds": seconds, "weights": weights}


def prepared(case: Case, patches: dict[str, float], data: dict[str, Tensor], **settings: object):
    import opdsl

    return opdsl.prepare_training(
        program(case, patches),
        data=data,
        valid="none",
        warn=lambda _: None,
        patches=patches,
        **settings,
    )


@torch.no_grad()
def error(operator: torch.nn.Module, data: dict[str, Tensor]) -> float:
    """Mean of the relative L2 errors of samples."""
    return float(errors_of(torch.cat([operator(a) for a in data["a"].split(4)]), data["u"]).mean())


def errors_of(u: Tensor, truth: Tensor) -> Tensor:
    return (u - truth).flatten(1).norm(dim=1) / truth.flatten(1).norm(dim=1)


def peak(name: str, patches: dict[str, float]) -> float:
    """MiB that torch has allocated at most in a step of training, beyond what it had before."""
    case = CASES[name]
    x = torch.randn(case.batch, 1, *[case.large] * case.dims)
    patches = {**patches, "at_once": case.batch // 2}
    training = prepared(case, patches, {"a": x, "u": x}, batch=case.batch)
    batch = next(training.batches(0))
    training.step.begin()
    training.step.learn(batch, 1e-3)
    return allocated(lambda: training.step.learn(batch, 1e-3)) / 2**20


# --- tables ------------------------------------------------------------------------------------


def key(run: dict[str, object]) -> tuple[object, ...]:
    return tuple(run[k] for k in ("case", "parts", "levels", "overlap", "seed"))


def table(runs: list[dict[str, object]]) -> str:
    """Relative L2 errors of test samples (mean and range over seeds), memory, processor time."""
    lines = [
        "| problem | parts | levels | overlap | chosen | seeds | weights | test | memory | time |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, case in CASES.items():
        groups = [[x for x in runs if key(x)[:-1] == group(name, p)] for p in (WHOLE, *CANDIDATES)]
        if not groups[0]:
            continue
        whole, *others = [x for x in groups if x]
        chosen = min(others, key=lambda x: mean(x, "valid"), default=None)
        lines.append(f"| {name} | linear | | | | | | {linear_error(case):.4f} | | |")
        for some in (whole, *others):
            run, part = some[0], mean(some, "test") / mean(whole, "test")
            patches = f"{run['parts']} | {run['levels']} | {run['overlap']}"
            errors = [x["test"] for x in some]
            lines.append(
                f"| {name} | {'whole | | ' if some is whole else patches} | "
                f"{'yes' if some is chosen else ''} | {len(some)} | {run['weights']:,} | "
                f"{mean(some, 'test'):.4f}, {min(errors):.4f} to {max(errors):.4f} "
                f"({part - 1:+.1%}) | "
                f"{run['peak']:.0f} MiB ({run['peak'] / whole[0]['peak']:.2f}) | "
                f"{mean(some, 'seconds'):.0f} s |"
            )
    return "\n".join(lines) + "\n"


def linear_error(case: Case) -> float:
    """Mean relative L2 error on test samples of the linear filter fitted to training samples."""
    data, unseen = samples(case, case.train, 0), samples(case, case.train // 4, 2)
    dims = tuple(range(2, 2 + case.dims))
    a, u = (torch.fft.rfftn(x.double(), dim=dims) for x in (data["a"], data["u"]))
    factor = (a.conj() * u).sum(0) / (a.abs() ** 2).sum(0).clamp(min=1e-20)
    return float(errors_of(filtered(unseen["a"].double(), factor), unseen["u"].double()).mean())


def mean(runs: list[dict[str, object]], what: str) -> float:
    return statistics.mean(x[what] for x in runs)


def group(name: str, patches: dict[str, float]) -> tuple[object, ...]:
    return (name, *patches.values())


def stored() -> list[dict[str, object]]:
    return json.loads(RESULTS.read_text()) if RESULTS.is_file() else []


def main() -> None:
    """Make the missing runs, then the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--case", choices=CASES, action="append")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    for name in chosen.case or CASES:
        for seed in range(chosen.seeds):
            for patches in (WHOLE, *CANDIDATES):
                if any(key(x) == (*group(name, patches), seed) for x in stored()):
                    continue
                run = train(name, patches, seed)
                run["peak"] = peak(name, patches)
                RESULTS.write_text(json.dumps([*stored(), run], indent=1) + "\n")
                print(run, flush=True)
    text = table(stored())
    print(text)
    RESULTS.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
