"""Discretisation convergence of every spec, neuraloperator's models of the same sizes beside it.

E(N) = ||R G(a) - G(R a)|| / ||R G(a)|| for random weights and smooth random functions a, float64;
`tests/convergence.py` says how it is measured, and its table which sizes are given to the models.
Here the grids are finer and more. Out goes a table, and `benchmarks/results/convergence.{json,md}`.
The rows of the reference are left out, and the table says so, where `neuralop` cannot be imported.

    PYTHONPATH=. python benchmarks/convergence.py
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from opdsl.compiler import load
from opdsl.ir.graph import Graph
from opdsl.lower.module import lower
from tests.convergence import (
    CASES,
    PLANES,
    SPECTRAL,
    STENCILS,
    WIDE_STENCILS,
    Case,
    Errors,
    measure,
    runner,
)

HERE = Path(__file__).parent
SPECS = HERE.parent / "specs"
RESULTS = HERE / "results" / "convergence.json"
LADDERS = {
    1: ((16, 32, 64, 128, 256), 1024),
    2: ((16, 32, 64, 128, 256), 1024),
    3: ((16, 32, 64), 128),
    4: ((10, 20), 40),
}
SHORT = ((16, 32, 64, 128), 512)  # for operators with many channels, and on spheres
LONG_WORK = ("coda_no", "coda_no_heat", "sfno_swe", "uqno_darcy", "uqno_darcy_point", "local_no")

OTHERS = {f"FNO-2D, 12 modes, {x}": text for x, text in PLANES.items()} | {
    "3x3 stencils (control)": STENCILS,
    "3x3 stencils between wide layers (control)": WIDE_STENCILS,
}
NAMES = (*CASES, *OTHERS)

Make = Callable[[], nn.Module]


def main() -> None:
    """Measure, print, write."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("only", nargs="*", help="names of specs; the others' rows stay")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(RESULTS.read_text()) if chosen.only else []
    rows = [x for x in rows if x["spec"] not in chosen.only]
    for name, label, graph, make in models():
        if chosen.only and name not in chosen.only:
            continue
        start = time.perf_counter()
        errors = measure(lambda make=make: runner(complete(make())), graph, ladder(name, graph))
        rows.append(row(name, label, errors))
        print(text(rows[-1]), f"| {time.perf_counter() - start:.0f} s", flush=True)
    rows.sort(key=lambda x: NAMES.index(x["spec"]))
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text(table(rows))


def models() -> Iterator[tuple[str, str, Graph, Make]]:
    """The spec's name, what is measured, between which functions, and how it is made."""
    theirs = references()
    for name, case in CASES.items():
        graph = load(str(SPECS / f"{name}.op"), **case.params)
        yield name, f"`{name}.op`", graph, lambda graph=graph: lower(graph)
        for label, make in theirs.get(name, {}).items():
            yield name, f"neuraloperator {label}", graph, make
    for label, program in OTHERS.items():
        graph = load(program)
        yield label, label, graph, lambda graph=graph: lower(graph)


def references() -> dict[str, dict[str, Make]]:
    """Models of neuraloperator, by the spec whose sizes they have."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from neuralop.models import FNO, TFNO, UNO
    except ImportError as error:
        print(f"neuraloperator is not installed here, so its rows are missing ({error})")
        return {}
    u = {
        "n_layers": 5,
        "hidden_channels": 4,
        "uno_out_channels": [8, 16, 16, 8, 4],
        "uno_n_modes": [[17, 17], [9, 9], [9, 9], [9, 9], [17, 17]],
        "uno_scalings": [[0.5, 0.5], [0.5, 0.5], [1, 1], [2, 2], [2, 2]],
        "positional_embedding": None,
        "channel_mlp_skip": "linear",  # its own default cannot change the channels
    }
    no, tucker = {"positional_embedding": None}, {"factorization": "tucker", "rank": 0.1}
    return {
        "fno_burgers": {"FNO, no coordinates": lambda: FNO((15,), 1, 17, 32, **no)},
        "fno_darcy": {
            f"FNO, domain_padding = {x}": lambda x=x: FNO((17, 17), 1, 1, 8, domain_padding=x)
            for x in (0.25, 0.1)
        },
        "fno_darcy_small": {"FNO": lambda: FNO((7, 7), 1, 1, 16)},
        "tfno_darcy": {"TFNO": lambda: TFNO((13, 13), 1, 1, 16, **tucker)},
        "uno_darcy": {"UNO, no coordinates": lambda: UNO(1, 1, **u)},
        "fno_3d": {"FNO, no coordinates": lambda: FNO((9, 9, 9), 1, 1, 6, **no)},
    }


def complete(module: nn.Module) -> nn.Module:
    """Its complex weights in double precision; `double` does that for real ones only."""
    for weight in module.parameters():
        if weight.is_complex():
            weight.data = weight.data.to(torch.complex128)
    return module


def ladder(name: str, graph: Graph) -> Case:
    """The grids of a spec: those of its number of axes that it promises."""
    domain = graph.inputs[0].space.domain
    sizes, finest = SHORT if name in LONG_WORK or name in OTHERS else LADDERS[domain.dims]
    least = max(x.least - (not x.periodic) for x in domain.axes)
    kept = tuple(n for n in sizes if n >= least or (2 * n >= least and domain.kind == "sphere"))
    case = CASES.get(name, Case(SPECTRAL))
    return dataclasses.replace(case, sizes=kept, finest=finest)


def row(name: str, label: str, errors: Errors) -> dict[str, object]:
    """What is kept."""
    return {
        "spec": name,
        "model": label,
        "errors": {str(n): e for n, e in errors.at.items()},
        "orders": list(errors.orders()),
        "varies": errors.varies,
    }


COLUMNS = (10, 16, 20, 32, 64, 128, 256)


def text(made: dict) -> str:
    """A line of the table."""
    cells = [f"{made['errors'][str(n)]:.1e}" if str(n) in made["errors"] else "" for n in COLUMNS]
    orders = ", ".join(f"{x:.1f}" for x in made["orders"])
    return f"| {made['model']} | {' | '.join(cells)} | {orders} | {made['varies']:.2g} |"


def table(rows: list[dict]) -> str:
    """All, and what the columns mean."""
    heads = " | ".join(f"E({n})" for n in COLUMNS)
    lines = [
        "# Discretisation convergence with random weights",
        "",
        "E(N) = ‖R G(a) - G(R a)‖ / ‖R G(a)‖ on N points an axis, against a grid of 1024 in one",
        "and two axes (512 on spheres and for what is dear), 128 in three and 40 in four;",
        "float64; a has amplitudes |k|^-3, on the sphere l^-2, for the derivatives of LocalNO",
        "|k|^-8. Orders are between neighbours. Each is a mean over two or three sets of weights,",
        "of models as small as `tests/convergence.py` says; neuraloperator's have the same sizes.",
        "The last column is the part of ‖G(a)‖ that varies over the domain; E divided by it is the",
        "error relative to that part.",
        "",
        f"| model | {heads} | orders | varies |",
        "|---" * (len(COLUMNS) + 3) + "|",
    ]
    return "\n".join([*lines, *map(text, rows)]) + "\n"


if __name__ == "__main__":
    main()
