"""`opdsl evaluate`: the errors of a run's best weights on data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opdsl.cli.console import UsageError, result, show_json
from opdsl.cli.options import Device, Json, Precision, Run
from opdsl.diagnostics import fault

if TYPE_CHECKING:
    from opdsl.cli.datasets import Held
    from opdsl.cli.run_folder import Saved


def command(
    run: Run,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="PATH", help="Instead of the run's test data; repeatable."),
    ] = None,
    resolutions: Annotated[
        str | None,
        typer.Option("--resolutions", metavar="16,32", help="Points on an axis; 64x32 for two."),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", metavar="PART", help="Of a folder: train, valid, test.")
    ] = None,
    last: Annotated[
        bool, typer.Option("--last", help="The last weights instead of the best.")
    ] = False,
    device: Device = None,
    precision: Precision = None,
    as_json: Json = False,
) -> None:
    """Measure the errors of a trained model.

    Example: opdsl evaluate runs/darcy --resolutions 33,65,129
    """
    wanted = parsed(resolutions) if resolutions is not None else []
    from dataclasses import asdict

    from opdsl.cli.bands import Banded
    from opdsl.cli.calibration import read_calibration
    from opdsl.cli.datasets import binding_of, read_tests
    from opdsl.cli.evaluate_tests import judge
    from opdsl.cli.results import metrics_table
    from opdsl.cli.run_folder import open_run
    from opdsl.cli.weights import with_device
    from opdsl.workflow.weights import trained_module

    saved = open_run(run)
    settings = with_device(saved.settings, device, precision)
    held, named = ([_held(x, split) for x in data], "test") if data else _own(saved, split)
    binding = binding_of(saved.graph, settings, testing=True)
    module, trained = trained_module(saved.folder, saved.graph, last=last)
    usual = None if data else settings.data.resolution
    if not wanted and not data:
        wanted = list(settings.eval.resolutions)
    tests = read_tests(held, wanted, usual, binding)
    rows = judge(module, trained.normaliser, saved.graph, tests, settings)
    rows = [x | {"split": named} for x in rows]
    if calibration := read_calibration(saved.folder, module):
        banded = Banded(saved.graph, module, trained.normaliser, settings)
        for told, samples in zip(rows, tests.values(), strict=True):
            told |= {"coverage": asdict(banded.coverage(samples, calibration))}
    if as_json:
        valid = rows if named == "valid" else []
        tested = rows if named != "valid" else []
        show_json({"run": run, "epoch": trained.epoch, "valid": valid, "tests": tested})
    else:
        result(metrics_table(rows))


def _held(path: str, split: str | None) -> Held:
    from opdsl.cli.datasets import Held, parts_of

    parts = parts_of(path)
    return Held(path, split or next((x for x in ("test", "valid") if x in parts), None))


def _own(saved: Saved, split: str | None) -> tuple[list[Held], str]:
    """The test data of the run itself, or its validation data if it has no others; which of them.

    A part of a folder that is asked for is what it is called.
    """
    from dataclasses import replace
    from pathlib import Path

    from opdsl.cli.results import SPLITS

    valid = [saved.valid] if saved.valid else []
    own, named = (list(saved.tests), "test") if saved.tests else (valid, "valid")
    gone = [x.path for x in own if not Path(x.path).exists()]
    if gone or not own:
        message = f"the {SPLITS[named]} data of the run are not there any more"
        message = message if own else "the run has neither test data nor validation data"
        helps = ("name others: `--data PATH`",)
        raise fault("OP0610", message, helps=helps, file=(gone or [str(saved.folder)])[0])
    return [replace(x, split=split) if split else x for x in own], split or named


def parsed(text: str) -> list[int | tuple[int, ...]]:
    """`16,32` or `64x32`.

    Raises:
        UsageError: it is neither.
    """
    parts = [x.strip().split("x") for x in text.split(",")]
    if not all(x.isdecimal() and int(x[:9]) > 0 for part in parts for x in part):
        raise UsageError(f"`--resolutions {text}`: write numbers of points, as in 16,32 or 64x32")
    sizes = [tuple(int(x) for x in part) for part in parts]
    return [x[0] if len(x) == 1 else x for x in sizes]
