"""Predicted and measured orders of convergence of every spec.

The prediction is that of the certificate; the measurement has random weights, float64 and analytic
inputs with the declared ends, see `tests/orders.py`. Writes `benchmarks/results/orders.{json,md}`.
Exits with 1 if a measurement contradicts a prediction.

    PYTHONPATH=. python benchmarks/orders.py
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch

from opdsl.compiler import load
from opdsl.ir.certificate import certify
from opdsl.ir.orders import order_text
from tests.orders import measure, small, specs

HERE = Path(__file__).parent
SPECS = HERE.parent / "specs"
RESULTS = HERE / "results" / "orders.json"


def main() -> None:
    """Measure, print, write."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("only", nargs="*", help="names of specs; the others' rows stay")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(RESULTS.read_text()) if chosen.only else {}
    for path in specs(SPECS):
        if chosen.only and path.stem not in chosen.only:
            continue
        start = time.perf_counter()
        rows[path.stem] = row(path)
        print(
            line(path.stem, rows[path.stem]), f"| {time.perf_counter() - start:.0f} s", flush=True
        )
    rows = dict(sorted(rows.items()))
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text(table(rows))
    sys.exit(not all(x["agrees"] for x in rows.values()))


def row(path: Path) -> dict:
    """Predict and measure one spec."""
    certificate = certify(load(str(path), **small(path)))
    order = certificate.convergence.order
    found = measure(path)
    return {
        "predicted": None if order is None else order_text(order.value),
        "convergent": certificate.convergent,
        "because": certificate.convergence.text,
        "measured": None if found is None else measured(found),
        "errors": {} if found is None else {str(n): e for n, e in found.errors.items()},
        "agrees": found is None or found.agrees,
    }


def measured(found) -> str:
    """The measured order: the slope of the finest errors, or spectral."""
    if found.spectral and (found.predicted is None or found.predicted > 4):
        return "spectral"
    return f"{found.order:.2f}"


def line(name: str, made: dict) -> str:
    """A line of the table."""
    errors = list(made["errors"].items())
    ends = [f"{e:.1e} at {n}" for n, e in (errors[0], errors[-1])] if errors else ["", ""]
    predicted = made["predicted"] or "not known"
    if not made["convergent"]:
        predicted = "one resolution, or no limit"
    cause = "" if made["predicted"] == "spectral" else made["because"].partition(", ")[2]
    words = made["measured"] or "not measured: functions on points"
    return f"| `{name}.op` | {predicted} | {words} | {ends[0]} | {ends[1]} | {cause} |"


def table(rows: dict) -> str:
    """All rows, and what the columns mean."""
    lines = [
        "# Orders of convergence, predicted and measured",
        "",
        "Predicted: by the certificate, from what each function does at the ends of its axes.",
        "Measured: random weights, float64, analytic inputs with the declared ends, errors E(N)",
        "between grids of N and 2 N spacings (3 N where points are cell centres) on the points",
        "that both have. `spectral`: E falls faster than N^-6, or ends below 1e-10. The two",
        "errors are those of the coarsest and of the finest pair. Models are as small as",
        "`tests/orders.py` says.",
        "",
        "| spec | predicted | measured | first error | last error | cause |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(line(k, x) for k, x in rows.items())]) + "\n"


if __name__ == "__main__":
    main()
