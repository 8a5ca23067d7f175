"""How near imported models of neuraloperator are to theirs: a table of constructor variants.

What is compared is what `tests/conformance/test_import.py` tests: outputs and gradients by the
input at three sizes, gradients by the weights at the first, in float32, relative; and parameters.
On points it is what `test_import_gino.py` tests, at two sizes.
Out goes `benchmarks/results/import_conformance.md`. neuraloperator has to be importable.

    PYTHONPATH=.:CHECKOUT python benchmarks/import_conformance.py
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results" / "import_conformance.md"


def main() -> None:
    """Compare all, print, write."""
    warnings.simplefilter("ignore")  # what is warned of there is not ours
    from tests import imports
    from tests.conformance.test_import import VARIANTS, built, sizes

    lines = [
        "# Imported models beside neuraloperator's",
        "",
        "Same weights, float32; the worst relative difference at the sizes given, of which the",
        "first is that of training. Parameters are real numbers; those that change nothing there,",
        "weights of CP terms, ranks above the full one and weights of functions that are zero, are",
        "not kept.",
        "",
        "| model | variant | sizes | output | gradient by input | by weights | parameters | kept |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for variant in VARIANTS:
        torch.manual_seed(0)
        theirs = imports.made(built(variant))
        found = imports.imported(theirs)
        there = sizes(variant)
        inputs = [torch.randn(2, variant.channels, *x, dtype=variant.dtype) for x in there]
        gaps = [f"{x:.0e}" for x in imports.gaps(theirs, found, inputs).values()]
        said = ", ".join("x".join(map(str, x)) for x in there)
        counts = f"{imports.parameters(theirs):,} | {imports.counted(found):,}"
        lines.append(
            f"| {variant.kind} | {variant.name} | {said} | {' | '.join(gaps)} | {counts} |"
        )
        print(lines[-1], flush=True)
    RESULTS.write_text("\n".join([*lines, "", *on_points()]) + "\n")


def on_points() -> list[str]:
    """The cases of `tests/conformance/test_import_gino.py`: models between points and grids."""
    from tests import imports
    from tests.conformance.test_import_gino import SIZES, VARIANTS, built, gaps, imported

    lines = [
        "## On points",
        "",
        *(f"Size {i + 1}: {x.points} points, {x.latent} on each axis of the grid, {x.queries} "
          "points of the result." for i, x in enumerate(SIZES)),
        "Weights of functions that are told a number vary little before a norm, which makes their",
        "rounding larger; in double precision all are equal to 1e-9.",
        "",
        "| model | variant | output | gradients by inputs | by weights | parameters | kept |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for variant in VARIANTS:
        theirs = built(variant)
        told = [gaps(theirs, variant, size) for size in SIZES]
        rows = [(x.pop("output"), x.pop("weights"), max(x.values(), default=0.0)) for x in told]
        output, weights, inputs = (f"{max(x):.0e}" for x in zip(*rows, strict=True))
        found = imported(theirs, variant, SIZES[0])
        counts = f"{imports.parameters(theirs):,} | {imports.counted(found):,}"
        lines.append(
            f"| {variant.kind} | {variant.name} | {output} | {inputs} | {weights} | {counts} |"
        )
        print(lines[-1], flush=True)
    return lines


if __name__ == "__main__":
    main()
