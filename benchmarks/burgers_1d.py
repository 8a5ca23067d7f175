"""FNO-1D on real data: the Burgers files of neuraloperator, ours beside the reference.

In comes the folder with `burgers_train_16.pt` and `burgers_test_16.pt`: 800 and 400 first states on
16 points, each with 17 times. Out go a table, `benchmarks/results/burgers_1d.json` (every run) and
`.md` (means). Both models have the sizes of `specs/fno_burgers.op` (width 32, 4 layers, |k| <= 7)
and are trained by one and the same loop, that of this package, with the spec's own train block:
the same normalisation, order of samples, loss, optimizer and learning rates for the same seed. The
reference is made with and without its grid coordinates, of which our spec has none since the
equation does not know them. Its rows are left out, and the table says so, where `neuralop` cannot
be imported.

    python benchmarks/burgers_1d.py --data ../shared/data/neuraloperator --seeds 3
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
from darcy_accuracy import HERE
from torch import Tensor, nn
from torch.func import functional_call

import opdsl
from opdsl.compiler import check, train_settings
from opdsl.data import FieldRequest, Samples, bind_fields
from opdsl.data.io.dataset import open_dataset
from opdsl.setting import Setting
from opdsl.train.config.settings import Settings, resolve
from opdsl.train.engine.fit import fit

SPEC = HERE.parent / "specs" / "fno_burgers.op"
RESULTS = HERE / "results" / "burgers_1d.json"
TIMES = 17
SIZES = {"n_modes": (15,), "in_channels": 1, "out_channels": TIMES, "hidden_channels": 32}

Make = Callable[[], nn.Module]


class Named(nn.Module):
    """The reference, called by the name of its input, its complex weights kept as pairs of numbers.

    A loop that casts a module to float32 would lose imaginary parts.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.held = (module,)  # not a child: its own weights are only places
        named = dict(module.named_parameters())
        self.names = {k: x.is_complex() for k, x in named.items()}
        pairs = [torch.view_as_real(x) if x.is_complex() else x for x in named.values()]
        self.weights = nn.ParameterList([nn.Parameter(x.detach().clone()) for x in pairs])

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, 16) -> (batch, 17, 16)."""
        kept = zip(self.names.items(), self.weights, strict=True)
        weights = {k: torch.view_as_complex(w) if pairs else w for (k, pairs), w in kept}
        found: Tensor = functional_call(self.held[0], weights, (x,))
        return found


def main() -> None:
    """Train all, print, write."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, default=HERE.parent / "../shared/data/neuraloperator")
    options.add_argument("--seeds", type=int, default=3)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    train, test = (samples(chosen.data / f"burgers_{x}_16.pt") for x in ("train", "test"))
    runs = []
    for name, make in makers().items():
        for seed in range(chosen.seeds):
            runs.append({"library": name, "seed": seed, **run(make, train, test, seed)})
            print(runs[-1], flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(runs, indent=1) + "\n")
    text = table(runs)
    RESULTS.with_suffix(".md").write_text(text)
    print(text)


def samples(path: Path) -> Samples:
    """The file as samples of x -> y, a channel for each time."""
    return bind_fields(
        open_dataset(path), [FieldRequest("x", 1, None, 1)], [FieldRequest("y", TIMES, None, 1)]
    )


def makers() -> dict[str, Make]:
    """What is compared, by name."""
    made: dict[str, Make] = {"opdsl": lambda: opdsl.compile(SPEC)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from neuralop.models import FNO
    except ImportError as error:
        print(f"neuraloperator is not installed here, so its rows are missing ({error})")
        return made
    made["neuraloperator"] = lambda: Named(FNO(**SIZES, positional_embedding=None))
    made["neuraloperator, grid coordinates"] = lambda: Named(FNO(**SIZES))
    return made


def run(make: Make, train: Samples, test: Samples, seed: int) -> dict[str, float]:
    """One training: errors over all times and at the last one, and what it took."""
    torch.manual_seed(seed)
    module, start = make(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        outcome = fit(
            module,
            train,
            None,  # all samples are learnt from, and the last weights count
            settings(seed),
            Path(folder) / "run",
            periodic={"y": (True,)},
            meta={"arch": "benchmark"},
        )
    seconds = time.perf_counter() - start
    with torch.no_grad():
        made = module.eval()(**outcome.normaliser.encode(test.inputs))
    u = outcome.normaliser.decode(made)["y"]
    return {
        "parameters": sum(p.numel() for p in module.parameters()),
        "rel_l2": error(u, test.outputs["y"]),
        "rel_l2_last": error(u[:, -1], test.outputs["y"][:, -1]),
        "seconds": seconds,
    }


def settings(seed: int) -> Settings:
    """Of the spec's train block."""
    said = train_settings(check(SPEC))
    given = list(said)
    more = {("seed",): seed, ("device",): "cpu"}
    return resolve([*given, *(Setting(k, v, "benchmark") for k, v in more.items())]).settings


def error(pred: Tensor, true: Tensor) -> float:
    """Mean over the samples of ||pred - true|| / ||true||."""
    gaps = (pred - true).flatten(1).norm(dim=1) / true.flatten(1).norm(dim=1)
    return float(gaps.mean())


def table(runs: list[dict]) -> str:
    """Means over the seeds, and half the distance of the extremes."""
    lines = [
        "# FNO-1D on the published Burgers files",
        "",
        "Relative L2 error on 400 test samples, 16 points, after 50 epochs on 800 samples: over",
        "all 17 times, and at the last. Both libraries train the same sizes by the same loop, with",
        f"the same settings; {max(x['seed'] for x in runs) + 1} seeds, mean ± half the distance of",
        "the extremes.",
        "",
        "| library | parameters | all times | last time |",
        "|---|---|---|---|",
    ]
    for name in dict.fromkeys(x["library"] for x in runs):
        own = [x for x in runs if x["library"] == name]
        cells = [spread([x[key] for x in own]) for key in ("rel_l2", "rel_l2_last")]
        lines.append(f"| {name} | {own[0]['parameters']:,} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def spread(found: list[float]) -> str:
    """`0.00229 ± 0.00002`."""
    return f"{statistics.mean(found):.5f} ± {(max(found) - min(found)) / 2:.5f}"


if __name__ == "__main__":
    main()
