"""SFNO on shallow water, evaluated at twice the resolution: ours beside the reference.

The data are made here, `opdsl data generate shallow-water`: states one hour apart, 256 at 32x64 to
train with, 64 others at 32x64 and the same at 64x128 to test with. Out go a table,
`benchmarks/results/sfno_swe.json` (every run) and `.md`. Both models have the sizes of
`specs/sfno_swe.op` (width 32, 4 layers, degrees to 15) and are trained by one and the same loop
with the spec's own train block. The reference's rows are left out, and the script says so, where
`neuralop` or `torch_harmonics` cannot be imported.

    python benchmarks/sfno_swe.py --folder swe --seeds 2
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from burgers_1d import Named, error
from darcy_accuracy import HERE
from torch import nn

import opdsl
from opdsl.compiler import check, train_settings
from opdsl.data import FieldRequest, Samples, bind_fields
from opdsl.data.generate.problems.shallow_water import generate
from opdsl.data.io.dataset import open_dataset
from opdsl.setting import Setting
from opdsl.train.config.settings import Settings, resolve
from opdsl.train.engine.fit import fit

SPEC = HERE.parent / "specs" / "sfno_swe.op"
RESULTS = HERE / "results" / "sfno_swe.json"
FILES = {  # latitudes, samples, seed
    "train": (32, 256, 0),
    "test": (32, 64, 1),
    "fine": (64, 64, 1),
}
SIZES = {"n_modes": (16, 32), "in_channels": 3, "out_channels": 3, "hidden_channels": 32}

Make = Callable[[], nn.Module]


def main() -> None:
    """Make the data, train all, print, write."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--folder", type=Path, default=Path("swe"), help="where the data are")
    options.add_argument("--seeds", type=int, default=2)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    data = {name: samples(chosen.folder / f"{name}.npz", *how) for name, how in FILES.items()}
    runs = []
    for name, make in makers().items():
        for seed in range(chosen.seeds):
            runs.append({"library": name, "seed": seed, **run(make, data, seed)})
            print(runs[-1], flush=True)
    RESULTS.write_text(json.dumps(runs, indent=1) + "\n")
    text = table(runs, persistence(data))
    RESULTS.with_suffix(".md").write_text(text)
    print(text)


def samples(path: Path, latitudes: int, count: int, seed: int) -> Samples:
    """The file, made if it is not there, as samples of x -> y."""
    if not path.is_file():
        print(generate(resolution=latitudes, samples=count, seed=seed, out=path))
    return bind_fields(
        open_dataset(str(path)), [FieldRequest("x", 3, None, 2)], [FieldRequest("y", 3, None, 2)]
    )


def makers() -> dict[str, Make]:
    """What is compared, by name."""
    made: dict[str, Make] = {
        "opdsl": lambda: opdsl.compile(SPEC),
        "opdsl, complex matrices": lambda: opdsl.compile(SPEC, numbers="complex"),
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from neuralop.models import SFNO
    except ImportError as error:
        print(f"neuraloperator is not installed here, so its rows are missing ({error})")
        return made
    made["neuraloperator"] = lambda: Named(SFNO(**SIZES))
    return made


def run(make: Make, data: dict[str, Samples], seed: int) -> dict[str, float]:
    """One training."""
    torch.manual_seed(seed)
    module, start = make(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        outcome = fit(
            module,
            data["train"],
            None,  # all samples are learnt from, and the last weights count
            settings(seed),
            Path(folder) / "run",
            periodic={"y": (False, True)},
            meta={"arch": "benchmark"},
        )
    seconds = time.perf_counter() - start
    found: dict[str, float] = {"parameters": sum(p.numel() for p in module.parameters())}
    for name in ("test", "fine"):
        test = data[name]
        with torch.no_grad():
            made = module.eval()(**outcome.normaliser.encode(test.inputs))
        found[f"rel_l2_{name}"] = each(outcome.normaliser.decode(made)["y"], test.outputs["y"])
    return found | {"seconds": seconds}


def each(pred: torch.Tensor, true: torch.Tensor) -> float:
    """The relative error of height, vorticity and divergence, each by itself, and their mean."""
    return statistics.mean(error(pred[:, i], true[:, i]) for i in range(3))


def persistence(data: dict[str, Samples]) -> float:
    """Of the forecast that nothing changes."""
    return each(data["test"].inputs["x"], data["test"].outputs["y"])


def settings(seed: int) -> Settings:
    """Of the spec's train block."""
    said = train_settings(check(SPEC))
    given = list(said)
    more = {("seed",): seed, ("device",): "cpu"}
    return resolve([*given, *(Setting(k, v, "benchmark") for k, v in more.items())]).settings


def table(runs: list[dict], nothing: float) -> str:
    """Means over the seeds, and half the distance of the extremes."""
    lines = [
        "# SFNO on shallow water, one hour ahead",
        "",
        "Relative L2 error, mean of height, vorticity and divergence, on 64 test samples, after",
        "training on 256 samples at 32x64. All models have the same sizes and are trained by one",
        f"loop; {max(x['seed'] for x in runs) + 1} seeds, mean ± half the distance of the",
        "extremes.",
        f"The forecast that nothing changes has {nothing:.4f}.",
        "",
        "| library | parameters | 32x64 | 64x128 | training, of the first |",
        "|---|---|---|---|---|",
    ]
    first = statistics.mean(x["seconds"] for x in runs if x["library"] == runs[0]["library"])
    for name in dict.fromkeys(x["library"] for x in runs):
        own = [x for x in runs if x["library"] == name]
        cells = [spread([x[f"rel_l2_{key}"] for x in own]) for key in ("test", "fine")]
        slower = statistics.mean(x["seconds"] for x in own) / first
        lines.append(f"| {name} | {own[0]['parameters']:,} | {' | '.join(cells)} | {slower:.2f} |")
    return "\n".join(lines) + "\n"


def spread(found: list[float]) -> str:
    """`0.0229 ± 0.0002`."""
    return f"{statistics.mean(found):.4f} ± {(max(found) - min(found)) / 2:.4f}"


if __name__ == "__main__":
    main()
