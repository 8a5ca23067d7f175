"""Bases that follow the boundary against Fourier layers, neuraloperator and a UNet.

Four problems: Darcy flow generated at 33x33 and tested at 33, 65 and 129 points; the Darcy files
that neuraloperator publishes (16x16, tested at 16 and 32); the Poisson and the wave equation of
Raonic et al. 2023, arXiv:2302.01178, at 64x64, tested in and out of distribution. Each row trains
one model by one loop: relative L2 loss (relative L1 for Poisson and wave, as in the paper), AdamW,
a one-cycle rate, batches of equal size. All rows of a problem have about equal parameters and train
for equal time: `SECONDS` of processor time at one thread, in as many whole epochs as fit. The last
weights count; test data are measured once.

Beside each row stand two baselines: the prediction at the training resolution interpolated by cubic
splines, and the best linear multiplier: the mean solution plus the least-squares fit of one number
for each pair of sines (and for each Fourier mode), which has no nonlinearity at all.

Each row of each seed is added to `benchmarks/results/bases.json` when it is done, and then left
alone; `--table` writes `bases.md` and `bases.svg` from that file.

    python benchmarks/bases.py --problem darcy --seeds 3
    python benchmarks/bases.py --table
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from scipy.fft import dst
from scipy.interpolate import CubicSpline
from torch import Tensor, nn

import opdsl
from opdsl.data.generate.problems import darcy, poisson, wave
from opdsl.data.io.dataset import open_dataset

HERE = Path(__file__).parent
SPECS = HERE.parent / "specs"
RESULTS = HERE / "results" / "bases.json"
TICKS = 1000  # of the schedule of the rate, which follows the time
# sines on an axis of the linear multipliers; as many as the data have in Poisson and wave
LINEAR_MODES = {"darcy": 12, "poisson": 16, "wave": 24}
WARM_UP = 3  # steps before the clock starts
EVALUATED = 10  # samples of a batch in evaluation


@dataclass(frozen=True)
class Pairs:
    """Inputs and outputs (samples, 1, *grid) of one file."""

    a: Tensor
    u: Tensor


@dataclass(frozen=True)
class Problem:
    """Data, settings of the loop, and the rows.

    Attributes:
        train: reads the training data.
        tests: by name, reads test data.
        seconds: processor time of training.
        norm: the power of the norm, 2 or 1; the median over samples is reported for 1.
    """

    train: Callable[[], Pairs]
    tests: dict[str, Callable[[], Pairs]]
    seconds: float
    batch: int
    rate: float
    rows: dict[str, Callable[[], nn.Module]]
    norm: int = 2
    symmetric: tuple[str, ...] = ()
    moves: tuple[Callable[[Tensor], Tensor], ...] = field(default=())


# --- models -------------------------------------------------------------------------------------


def spec(name: str, **params: object) -> Callable[[], nn.Module]:
    """Return a maker of the model of a program in `specs/`."""
    return lambda: opdsl.compile(SPECS / f"{name}.op", **params)


def neuraloperator(modes: int, width: int, padding: float | None) -> Callable[[], nn.Module]:
    """Return a maker of the FNO of neuraloperator."""

    def make() -> nn.Module:
        from neuralop.models import FNO

        size = {"n_modes": (modes, modes), "hidden_channels": width, "n_layers": 4}
        return FNO(in_channels=1, out_channels=1, domain_padding=padding, **size)

    return make


class UNet(nn.Module):
    """A UNet of three levels with two 3x3 convolutions at each, (batch, 1, x, y) in and out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width]
        self.down = nn.ModuleList(_double(a, b) for a, b in zip([1, *widths], widths, strict=False))
        self.up = nn.ModuleList(_double(3 * w, w) for w in (2 * width, width))
        self.last = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the network; sizes are rounded by interpolation to those on the way down."""
        passed = []
        for i, block in enumerate(self.down):
            x = block(nn.functional.avg_pool2d(x, 2) if i else x)
            passed.append(x)
        for block, skip in zip(self.up, passed[-2::-1], strict=True):
            x = nn.functional.interpolate(x, skip.shape[2:], mode="bilinear")
            x = block(torch.cat((x, skip), 1))
        return self.last(x)


def _double(a: int, b: int) -> nn.Sequential:
    layers = (nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.GELU())
    return nn.Sequential(*layers, nn.Conv2d(b, b, 3, padding=1), nn.BatchNorm2d(b), nn.GELU())


# --- data ---------------------------------------------------------------------------------------

DATA = Path("runs/bases")
PUBLISHED = HERE.parent / "../shared/data/neuraloperator"


def generated(
    generate: Callable[..., object],
    name: str,
    fields: tuple[str, str],
    step: int = 1,
    **how: object,
) -> Callable[[], Pairs]:
    """Return a reader of generated data, which are kept in `runs/bases`."""

    def read() -> Pairs:
        path = DATA / f"{name}.h5"
        if not path.exists():
            DATA.mkdir(parents=True, exist_ok=True)
            generate(out=path, **how)
        return _pairs(path, fields, step)

    return read


def published(name: str) -> Callable[[], Pairs]:
    """Return a reader of a file that neuraloperator publishes."""
    return lambda: _pairs(PUBLISHED / f"{name}.pt", ("x", "y"), 1)


def _pairs(path: Path, fields: tuple[str, str], step: int) -> Pairs:
    from opdsl.data import FieldRequest, bind_fields

    a, u = (FieldRequest(x, 1, None, 2) for x in fields)
    samples = bind_fields(open_dataset(path), [a], [u])
    a, u = samples.inputs[fields[0]].float(), samples.outputs[fields[1]].float()
    return Pairs(a[..., ::step, ::step].contiguous(), u[..., ::step, ::step].contiguous())


def darcy_at(points: int) -> Callable[[], Pairs]:
    """Return a reader of 100 test samples, solved at 129 points."""
    how = {"resolution": 129, "samples": 100, "seed": 1}
    step = 128 // (points - 1)
    return generated(darcy.generate, "darcy_test", ("coefficient", "pressure"), step, **how)


def closed_form(generate: Callable[..., object], name: str, fields: tuple[str, str], **how: object):
    """Return a reader of data of 64x64 points in closed form."""
    return generated(generate, name, fields, resolution=64, **how)


def sine_problem(
    generate: Callable[..., object], name: str, fields: tuple[str, str], samples: int
) -> Problem:
    """Return a problem in closed form, tested in and out of distribution."""
    out = {"samples": 256, "seed": 3, "distribution": "out"}
    return Problem(
        closed_form(generate, f"{name}_train", fields, samples=samples, seed=0),
        {
            "in": closed_form(generate, f"{name}_in", fields, samples=256, seed=2),
            "out": closed_form(generate, f"{name}_out", fields, **out),
        },
        seconds=200,
        batch=16,
        rate=4e-3,
        rows={
            "sines and cosines": spec(name, modes=(12, 12), width=16),
            "Fourier, padded": spec("fno_darcy", modes=(8, 8), width=16),
            "neuraloperator": neuraloperator(16, 16, None),
            "UNet": lambda: UNet(25),
        },
        norm=1,
    )


FLOW, FORCED, WAVE = ("coefficient", "pressure"), ("forcing", "solution"), ("initial", "final")
FLIPS = (lambda z: z.flip(-1), lambda z: z.flip(-2))
SWAP = (lambda z: z.mT,)

PROBLEMS: dict[str, Problem] = {
    "darcy": Problem(
        generated(darcy.generate, "darcy_train", FLOW, resolution=33, samples=1000, seed=0),
        {f"{n}x{n}": darcy_at(n) for n in (33, 65, 129)},
        seconds=160,
        batch=10,
        rate=3e-3,
        rows={
            "sines and cosines": spec("darcy"),
            "sines and cosines, symmetries": spec("darcy"),
            "Fourier, padded": spec("fno_darcy", modes=(8, 8)),
            "Fourier, padded, 12 modes": spec("fno_darcy"),
            "Fourier, continued": spec("fno_continued", modes=(8, 8)),
            "neuraloperator, padded": neuraloperator(16, 32, 0.25),
        },
        symmetric=("sines and cosines, symmetries",),
        moves=(*FLIPS, *SWAP),
    ),
    "darcy_files": Problem(
        published("darcy_train_16"),
        {f"{n}x{n}": published(f"darcy_test_{n}") for n in (16, 32)},
        seconds=70,
        batch=16,
        rate=1e-2,
        rows={
            "sines and cosines": spec("darcy_small"),
            "sines and cosines, symmetries": spec("darcy_small"),
            "Fourier": spec("fno_darcy_small"),
            "neuraloperator": neuraloperator(8, 24, None),
        },
        symmetric=("sines and cosines, symmetries",),
        moves=SWAP,
    ),
    "poisson": sine_problem(poisson.generate, "poisson", FORCED, 1024),
    "wave": sine_problem(wave.generate, "wave", WAVE, 512),
}

# Raonic et al. 2023, table 1: median relative L1 at 64x64, in and out of distribution, in percent
PAPER = {
    "poisson": {"FNO": (4.98, 7.05), "UNet": (0.71, 1.27), "CNO": (0.21, 0.27)},
    "wave": {"FNO": (1.02, 1.77), "UNet": (1.51, 2.03), "CNO": (0.63, 1.17)},
}


# --- training and errors ------------------------------------------------------------------------


def errors(pred: Tensor, true: Tensor, norm: int) -> Tensor:
    """Relative errors of the samples, (batch,)."""
    size = true.flatten(1).norm(p=norm, dim=1)
    return (pred - true).flatten(1).norm(p=norm, dim=1) / size


def train(problem: Problem, row: str, seed: int) -> dict[str, object]:
    """Train one row and return its figures."""
    torch.manual_seed(seed)
    data, model = problem.train(), problem.rows[row]()
    mean, spread, unit = data.a.mean(), data.a.std(), data.u.std()

    def predict(a: Tensor) -> Tensor:
        return model((a - mean) / spread) * unit

    moves = problem.moves if row in problem.symmetric else ()
    optimizer = torch.optim.AdamW(model.parameters(), lr=problem.rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, problem.rate, total_steps=TICKS)
    _warm_up(problem, data, predict)
    steps, start, passed = 0, time.process_time(), 0.0
    while passed < 1:
        for rows in torch.randperm(len(data.a)).split(problem.batch):
            optimizer.zero_grad()
            x, y = data.a[rows], data.u[rows]
            for move in moves:
                if torch.rand(()) < 0.5:
                    x, y = move(x).contiguous(), move(y).contiguous()
            errors(predict(x), y, problem.norm).mean().backward()
            optimizer.step()
            steps += 1
            passed = (time.process_time() - start) / problem.seconds
            while schedule.last_epoch < min(int(TICKS * passed), TICKS - 1):
                schedule.step()
            if passed >= 1:
                break
    epochs = round(steps * problem.batch / len(data.a), 1)
    seconds = time.process_time() - start
    model.eval()
    with torch.no_grad():
        tests = dict(_tests(problem, predict, data.u.shape[-1]))
    numbers = sum(p.numel() * (2 if p.is_complex() else 1) for p in model.parameters())
    return {"parameters": numbers, "epochs": epochs, "seconds": round(seconds, 1), **tests}


def _warm_up(problem: Problem, data: Pairs, predict: Callable[[Tensor], Tensor]) -> None:
    """Run steps that change no weight, so that no row pays for what happens once."""
    x, y = data.a[: problem.batch], data.u[: problem.batch]
    for _ in range(WARM_UP):
        errors(predict(x), y, problem.norm).mean().backward()


def _tests(
    problem: Problem, predict: Callable[[Tensor], Tensor], points: int
) -> Iterator[tuple[str, float]]:
    """Yield the error on each test set, and of the interpolated prediction on finer grids."""
    average = torch.mean if problem.norm == 2 else torch.median
    coarse = None
    for name, read in problem.tests.items():
        test = read()
        pred = torch.cat([predict(a) for a in test.a.split(EVALUATED)])
        yield name, round(average(errors(pred, test.u, problem.norm)).item(), 6)
        n = test.a.shape[-1]
        if n == points and coarse is None:
            coarse = pred
        elif n > points and coarse is not None:
            fine = interpolated(coarse, n, both=(n - 1) % (points - 1) == 0)
            error = average(errors(fine, test.u, problem.norm)).item()
            yield f"{name} interpolated", round(error, 6)


def interpolated(u: Tensor, n: int, *, both: bool) -> Tensor:
    """Interpolate (batch, 1, m, m) to n points on each axis by cubic splines."""
    m = u.shape[-1]
    old, new = (torch.arange(k) / (k - both) for k in (m, n))
    for axis in (-2, -1):
        u = torch.from_numpy(CubicSpline(old, u, axis=axis)(new))
    return u.float()


# --- the best linear multipliers ----------------------------------------------------------------


def multipliers(problem: Problem, modes: int) -> dict[str, dict[str, float]]:
    """Return errors of the best linear multipliers of sines and of Fourier modes."""
    data = problem.train()
    average = torch.mean if problem.norm == 2 else torch.median
    table: dict[str, dict[str, float]] = {}
    for title, transform, inverse in (
        (f"linear, {modes} sines", _sines, _from_sines),
        ("linear, Fourier", torch.fft.rfft2, lambda z, n: torch.fft.irfft2(z, s=(n, n))),
    ):
        a_mean, u_mean = data.a.mean(0), data.u.mean(0)  # functions
        a, u = transform(data.a - a_mean), transform(data.u - u_mean)
        R = (a.conj() * u).sum(0) / (a.abs() ** 2).sum(0).clamp_min(1e-30)
        row = {}
        for name, read in problem.tests.items():
            test = read()
            if test.a.shape[-1] != data.a.shape[-1]:
                continue
            z = R * transform(test.a - a_mean)
            if "sines" in title:
                z = nn.functional.pad(z[..., :modes, :modes], (0, z.shape[-1] - modes) * 2)
            pred = u_mean + inverse(z, test.u.shape[-1])
            row[name] = round(average(errors(pred, test.u, problem.norm)).item(), 6)
        table[title] = row
    return table


def _sines(u: Tensor) -> Tensor:
    """Compute the sine coefficients of functions with points at both ends."""
    z = u[..., 1:-1, 1:-1].double().numpy()
    for axis in (-2, -1):
        z = dst(z, type=1, axis=axis, norm="ortho")
    return torch.from_numpy(z)


def _from_sines(z: Tensor, _: int) -> Tensor:
    y = z.numpy()
    for axis in (-2, -1):
        y = dst(y, type=1, axis=axis, norm="ortho")
    return nn.functional.pad(torch.from_numpy(y), (1, 1, 1, 1)).float()


# --- the table ----------------------------------------------------------------------------------


def save(entry: dict[str, object]) -> None:
    """Add a result to the file."""
    entries = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    RESULTS.write_text(json.dumps([*entries, entry], indent=1) + "\n")


def table() -> str:
    """Write the table of all results."""
    entries = json.loads(RESULTS.read_text())
    lines = ["# Bases by boundary", "", "Written by `benchmarks/bases.py --table`; see its text."]
    for problem in PROBLEMS:
        some = [x for x in entries if x["problem"] == problem]
        if some:
            lines += ["", f"## {problem}", "", *_table(problem, some)]
    return "\n".join(lines) + "\n"


def _table(problem: str, entries: list[dict[str, object]]) -> Iterator[str]:
    keys = ("problem", "row", "seed", "parameters", "epochs", "seconds", "processor")
    columns = list(dict.fromkeys(k for x in entries for k in x if k not in keys))
    yield "| | parameters | epochs | seeds | " + " | ".join(columns) + " |"
    yield "|---" * (4 + len(columns)) + "|"
    for row in dict.fromkeys(x["row"] for x in entries):
        runs = [x for x in entries if x["row"] == row]
        cells = [_mean([x[c] for x in runs if c in x]) for c in columns]
        first = runs[0]
        size = f"{first['parameters']:,}" if "parameters" in first else ""
        epochs = "/".join(dict.fromkeys(str(x.get("epochs", "")) for x in runs))
        seeds = len(runs) if "parameters" in first else ""
        yield f"| {row} | {size} | {epochs} | {seeds} | " + " | ".join(cells) + " |"
    for name, figures in PAPER.get(problem, {}).items():
        cells = " | ".join(f"{x / 100:.4f}" for x in figures)
        yield f"| {name}, in the paper | | | | {cells} |"
    processors = {x["processor"] for x in entries if "processor" in x}
    if processors:
        yield ""
        yield f"One thread, {', '.join(sorted(processors))}."


def _mean(values: list[float]) -> str:
    if not values:
        return ""
    text = f"{statistics.mean(values):.5f}"
    return text if len(values) == 1 else f"{text} ({min(values):.5f} to {max(values):.5f})"


def plot() -> None:
    """Draw the errors on Darcy data over the resolution."""
    from matplotlib import pyplot as plt

    entries = [x for x in json.loads(RESULTS.read_text()) if x["problem"] == "darcy"]
    figure, axes = plt.subplots(figsize=(6, 4))
    for row in dict.fromkeys(x["row"] for x in entries if "parameters" in x):
        runs = [x for x in entries if x["row"] == row]
        points = (33, 65, 129)
        means = [statistics.mean(x[f"{n}x{n}"] for x in runs) for n in points]
        axes.plot(points, means, marker="o", label=row)
    axes.set(xlabel="points on an axis", ylabel="relative L2 error", ylim=(0, None))
    axes.set_xticks((33, 65, 129))
    axes.set_title("Darcy flow, trained at 33x33 for equal time")
    axes.legend()
    figure.tight_layout()
    figure.savefig(RESULTS.with_suffix(".svg"), metadata={"Date": None})


def main() -> None:
    """Train what is missing, or write the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--problem", choices=PROBLEMS)
    options.add_argument("--row", help="rows whose name begins so; all without")
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument("--table", action="store_true")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    for name, problem in PROBLEMS.items():
        if chosen.problem == name:
            run(name, problem, chosen.row or "", chosen.seeds)
    if chosen.table:
        RESULTS.with_suffix(".md").write_text(table())
        plot()


def run(name: str, problem: Problem, prefix: str, seeds: int) -> None:
    """Train all rows that begin with `prefix` and have no result yet."""
    entries = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    done = {(x["problem"], x["row"], x.get("seed")) for x in entries}
    processor = torch.backends.cpu.get_cpu_capability()
    if name in LINEAR_MODES and not prefix:
        for row, figures in multipliers(problem, LINEAR_MODES[name]).items():
            if (name, row, None) not in done:
                save({"problem": name, "row": row, **figures})
    for seed in range(seeds):
        for row in (x for x in problem.rows if x.startswith(prefix)):
            if (name, row, seed) in done:
                continue
            result = train(problem, row, seed)
            save({"problem": name, "row": row, "seed": seed, "processor": processor, **result})
            print(name, row, seed, result, flush=True)


if __name__ == "__main__":
    main()
