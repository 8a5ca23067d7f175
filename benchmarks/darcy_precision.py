"""Training on published Darcy files in bf16 and in fp32: errors on test data, by seed.

    python benchmarks/darcy_precision.py FOLDER [--epochs 30] [--seeds 3] [--out RESULT]

FOLDER has `darcy_train_16.pt`, `darcy_test_16.pt` and `darcy_test_32.pt` of neuraloperator. The
program is `specs/darcy_small.op`. Weights begin equally and samples come in the same order in both
precisions; a model is evaluated in the precision of its training.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import opdsl

HERE = Path(__file__).parent
SPEC = HERE.parent / "specs" / "darcy_small.op"
PRECISIONS = ("fp32", "bf16")


def main() -> None:
    """Train, write after each seed, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "darcy_precision")
    options = parser.parse_args()
    torch.set_num_threads(1)
    errors: dict[str, dict[str, Mapping[str, float]]] = {}
    for seed in range(options.seeds):
        errors[str(seed)] = {
            x: trained(options.folder, x, seed, options.epochs) for x in PRECISIONS
        }
        results = {"torch": torch.__version__, "epochs": options.epochs, "errors": errors}
        options.out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
        options.out.with_suffix(".md").write_text("\n".join(lines(results)) + "\n")
    print("\n".join(lines(results)))


def trained(folder: Path, precision: str, seed: int, epochs: int) -> dict[str, float]:
    """Relative L2 errors of a run on the test files, by resolution."""
    with TemporaryDirectory() as out:
        run = opdsl.train(
            SPEC,
            data=folder / "darcy_train_16.pt",
            test=[folder / f"darcy_test_{n}.pt" for n in (16, 32)],
            out=Path(out) / "run",
            warn=lambda _: None,
            epochs=epochs,
            seed=seed,
            precision=precision,
            device="cpu",
            symmetries=["swap(x, y)"],
            batch=16,
            schedule={"kind": "one_cycle"},
            optimizer={"lr": 1e-2},
        )
        return {str(x["resolution"][0]): x["rel_l2"] for x in run.metrics.tests}


def lines(results: dict) -> list[str]:
    """The table."""
    text = [
        "# Darcy in bfloat16",
        "",
        "Made by `benchmarks/darcy_precision.py`, whose head says how: relative L2 errors on 50",
        f"test samples each, {results['epochs']} epochs, torch {results['torch']}, one CPU thread.",
        "",
        "| seed | fp32, 16 x 16 | bf16, 16 x 16 | ratio | fp32, 32 x 32 | bf16, 32 x 32 | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    means: dict[str, float] = {}
    for seed, by_name in results["errors"].items():
        cells = []
        for n in ("16", "32"):
            a, b = by_name["fp32"][n], by_name["bf16"][n]
            cells += [f"{a:.4f}", f"{b:.4f}", f"{b / a:.3f}"]
            means[n] = means.get(n, 0.0) + b / a / len(results["errors"])
        text.append(f"| {seed} | {' | '.join(cells)} |")
    text.append(f"| mean | | | {means['16']:.3f} | | | {means['32']:.3f} |")
    return text


if __name__ == "__main__":
    main()
