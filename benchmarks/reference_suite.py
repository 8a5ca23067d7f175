"""Run neuraloperator's own model tests and compare every model that they call with its import.

Each outermost call of a model in `CHECKOUT/neuralop/models/tests` is repeated in evaluation mode,
once by the model and once by `opdsl.from_neuralop` of it, with the same inputs. A test counts as
`different` if the relative L2 error of one of its calls exceeds the tolerance, as `refused` if
the import of one of its models was refused, as `equal` if all its calls agree, and as
`not called` if it calls no model. The exit status is 1 if some test is different.

    PYTHONPATH=. python benchmarks/reference_suite.py CHECKOUT [-o RESULT] [pytest options]

The points of a latent grid are an argument of GINO and FNOGNO there and a regular grid here. The
tests give GINO a grid in the order of `meshgrid(indexing="xy")` and FNOGNO random points; both
models are compared on the regular grid of the same size instead. Of the points of the result of
FNOGNO those are left out for which rounding decides whether they have a neighbour.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from opdsl import OpError
from opdsl.migrate.neuralop.importing import from_neuralop

TESTS = Path("neuralop/models/tests")
TOLERANCE = 1e-5  # relative L2; the largest error that was met stands in the table
CLEAR = 1e-5  # of a radius: neighbours are compared to six digits here, and to seven there
VERDICTS = ("equal", "refused", "different", "not called")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One call of one model.

    Attributes:
        error: the relative error of the import; infinite if it raised anything but a diagnostic.
        reason: why it was refused.
        crash: what it raised.
    """

    error: float = 0.0
    reason: str | None = None
    crash: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One test of theirs: its file and name, whether it passed, what was compared in it."""

    file: str
    name: str
    outcome: str
    comparisons: tuple[Comparison, ...]

    @property
    def error(self) -> float:
        """The largest error of its calls."""
        return max((x.error for x in self.comparisons if x.reason is None), default=0.0)

    @property
    def verdict(self) -> str:
        """The worst of its calls."""
        if not self.comparisons:
            return "not called"
        if not self.error <= TOLERANCE:
            return "different"
        return "refused" if any(x.reason for x in self.comparisons) else "equal"


def imported(model: Any, **more: Any) -> Any:
    """The import of a model, in its number format."""
    _, ours = from_neuralop(model, **more)
    return ours.eval().to(next(model.parameters()).real.dtype)


# --- the same inputs for both ------------------------------------------------------------------


def on_grid(model: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Models from functions on a grid to functions on a grid."""
    return model(x), imported(model)(x)


def in_time(
    model: Any, x: torch.Tensor, init_hidden_states: Any = None, **_: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """RNO: the last prediction for a sequence, from initial states that nobody gives."""
    if init_hidden_states is not None:
        raise NotImplementedError("the tests give no initial states")
    return model(x), imported(model).rollout(x.shape[1], x=x)["y"][:, -1]


def of_variables(
    model: Any,
    x: torch.Tensor,
    static_channel: torch.Tensor | None = None,
    input_variable_ids: Any = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """CODANO: one program for each number of variables that it is called with."""
    variables = x.shape[1] if input_variable_ids is None else tuple(input_variable_ids)
    given = () if static_channel is None else (static_channel,)
    theirs = model(x, static_channel, input_variable_ids)
    return theirs, imported(model, variables=variables)(x, *given)


def from_points(model: Any, **given: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """GINO, its latent grid in the order of the coordinates."""
    latent, points = regular(given["latent_queries"])
    ours = imported(model, latent=latent)
    given = {**given, "latent_queries": points.reshape_as(given["latent_queries"])}
    named = {"x": given["x"].movedim(-1, 1)}
    if given.get("latent_features") is not None:
        named["latent_features"] = given["latent_features"].movedim(-1, 1)
    places = {"P": given["input_geom"], "Q": given["output_queries"]}
    return model(**given), ours(**named, **places).movedim(1, -1)


def to_points(
    model: Any, in_p: torch.Tensor, out_p: torch.Tensor, f: torch.Tensor, ada_in: Any = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """FNOGNO on a regular grid."""
    latent, points = regular(in_p)
    ours = imported(model, latent=latent)
    axes, out_p = in_p.shape[-1], clear(out_p, points, model.gno_radius)
    x = f.movedim(-1, f.ndim - 1 - axes)
    x = x if model.gno_batched else x[None]
    told = {}
    if any(y.name == "ada_in" for y in ours.graph.inputs):
        told["ada_in"] = ada_in.expand(len(x), -1)
    found = ours(x, **told, Q=out_p).movedim(1, -1)
    return model(points, out_p, f, ada_in), found if model.gno_batched else found[0]


def by_transport(
    model: Any, x: torch.Tensor, ind_dec: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """OTNO: numbers of points of the latent grid are an input here."""
    found = imported(model)(x, ind_dec=ind_dec[None, None].to(x.dtype))
    return model(x, ind_dec), found[:, 0]


def clear(points: torch.Tensor, grid: torch.Tensor, radius: float) -> torch.Tensor:
    """Without the points for which rounding decides whether a point of the grid is a neighbour."""
    far = torch.cdist(points.double(), grid.flatten(0, -2).double()) / radius
    return points[((far - 1).abs() > CLEAR).all(1)]


def regular(points: torch.Tensor) -> tuple[int, torch.Tensor]:
    """The points on each axis of a grid, and the regular grid of both ends of that size."""
    *sizes, axes = points.shape[-1 - points.shape[-1] :]
    lines = [torch.linspace(0, 1, n, dtype=points.dtype) for n in sizes]
    return sizes[0], torch.stack(torch.meshgrid(*lines[:axes], indexing="ij"), -1)


PAIRS: dict[str, Callable[..., tuple[torch.Tensor, torch.Tensor]]] = {
    "CODANO": of_variables,
    "FNO": on_grid,
    "FNOGNO": to_points,
    "GINO": from_points,
    "LocalNO": on_grid,
    "OTNO": by_transport,
    "RNO": in_time,
    "UNO": on_grid,
}


# --- around their calls ------------------------------------------------------------------------


class Recorder:
    """A pytest plugin that compares the outermost calls of models, and keeps a `Case` per test."""

    def __init__(self) -> None:
        self.cases: list[Case] = []
        self.deselected: Counter[str] = Counter()
        self.current: list[Comparison] = []
        self.inside = False

    def wrap(self, models: Any) -> None:
        """Let each class of models compare its calls."""
        for name, pair in PAIRS.items():
            kind = getattr(models, name)
            kind.__call__ = self._compared(kind.__call__, pair)

    def _compared(self, call: Callable[..., Any], pair: Callable[..., Any]) -> Callable[..., Any]:
        def called(model: Any, *args: Any, **named: Any) -> Any:
            if self.inside:
                return call(model, *args, **named)
            self.inside = True
            try:
                result = call(model, *args, **named)
                self.current.append(compare(model, pair, args, named))
            finally:
                self.inside = False
            return result

        return called

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Count what the options leave out."""
        self.deselected.update(x.path.name for x in items)

    def pytest_runtest_setup(self) -> None:
        """Begin a test."""
        self.current = []

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        """End a test."""
        report = (yield).get_result()
        if report.when == "call" or report.outcome != "passed":
            found = tuple(self.current)
            self.cases.append(Case(item.path.name, item.name, report.outcome, found))


def compare(model: Any, pair: Callable[..., Any], args: Any, named: Any) -> Comparison:
    """The error of the import of a model, both in evaluation mode."""
    training, state = model.training, torch.get_rng_state()
    model.eval()
    try:
        found = measured(model, pair, args, named)
        if not found.error <= TOLERANCE:
            with single_precision_is_double():
                found = measured(doubled(model), pair, doubled(args), doubled(named))
    except OpError as error:
        return Comparison(reason=f"{error.diagnostics[0].code}: {error.diagnostics[0].message}")
    except Exception as error:  # noqa: BLE001  a crash of the import is no failure of their test
        return Comparison(error=float("inf"), crash=f"{type(error).__name__}: {error}")
    finally:
        model.train(training)
        torch.set_rng_state(state)
    return found


def measured(model: Any, pair: Callable[..., Any], args: Any, named: Any) -> Comparison:
    """The error of one call."""
    with torch.no_grad():
        theirs, ours = pair(model, *args, **named)
    if theirs.shape != ours.shape:
        return Comparison(error=float("inf"))
    return Comparison(error=float((ours - theirs).norm() / theirs.norm()))


@contextmanager
def single_precision_is_double() -> Iterator[None]:
    """Let neuraloperator, which has single precision written into it, compute in double."""
    single = torch.cfloat
    torch.cfloat = torch.complex128
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.cfloat = single
        torch.set_default_dtype(torch.float32)


def doubled(x: Any) -> Any:
    """A copy with numbers of double precision."""
    if isinstance(x, torch.nn.Module):
        x = deepcopy(x)
        for y in (*x.parameters(), *x.buffers()):
            y.data = doubled(y.data)
        return x
    if isinstance(x, dict):
        return {k: doubled(y) for k, y in x.items()}
    if isinstance(x, tuple | list):
        return type(x)(doubled(y) for y in x)
    if not isinstance(x, torch.Tensor) or not (x.is_floating_point() or x.is_complex()):
        return x
    return x.detach().to(torch.complex128 if x.is_complex() else torch.float64)


# --- the table ---------------------------------------------------------------------------------


def report(cases: list[Case], commit: str, deselected: Mapping[str, int]) -> str:
    """The table, the reasons of refusals, and the tests that differ."""
    lines = [
        "# neuraloperator's own model tests with imported models",
        "",
        f"neuraloperator at {commit}, torch {torch.__version__}, {processor()}.",
        f"Equal: relative L2 error of every call up to {TOLERANCE:g}, in evaluation mode, in",
        "float32, or in float64 where rounding is larger. The latent grids of GINO and FNOGNO are",
        "regular grids in the order of the coordinates.",
        "",
        "| file | tests | equal | refused | different | not called | calls equal | largest error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    files = sorted({x.file for x in cases})
    for file in [*files, None]:
        chosen = [x for x in cases if file in (x.file, None)]
        counts = Counter(x.verdict for x in chosen)
        shown = " | ".join(str(counts[x]) for x in VERDICTS)
        calls = [y for x in chosen for y in x.comparisons]
        equal = sum(y.reason is None and y.error <= TOLERANCE for y in calls)
        error = max((x.error for x in chosen), default=0.0)
        row = f"{shown} | {equal} of {len(calls)} | {error:.0e}"
        lines.append(f"| {file or 'all'} | {len(chosen)} | {row} |")
    left = ", ".join(f"{n} of {file}" for file, n in sorted(deselected.items()))
    note = ["", f"Left out by options: {left}."] if left else []
    return "\n".join([*lines, *note, *details(cases)]) + "\n"


def details(cases: list[Case]) -> Iterator[str]:
    """Reasons of refusals with their counts, tests that differ, tests that fail there."""
    reasons = Counter(
        (x.file, reason)
        for x in cases
        if x.verdict == "refused"
        for reason in {y.reason for y in x.comparisons if y.reason}
    )
    if reasons:
        yield from ("", "## Refused", "", "| file | tests | reason |", "|---|---|---|")
        for (file, reason), count in sorted(reasons.items()):
            yield f"| {file} | {count} | {reason} |"
    different = [x for x in cases if x.verdict == "different"]
    if different:
        yield from ("", "## Different", "")
        for x in different:
            crash = next((y.crash for y in x.comparisons if y.crash), "")
            yield f"- {x.file}: `{x.name}`, {crash or format(x.error, '.1e')}"
    failed = [x for x in cases if x.outcome == "failed"]
    if failed:
        yield from ("", "## Failed in neuraloperator itself", "")
        yield from (f"- {x.file}: `{x.name}`" for x in failed)


def processor() -> str:
    """The vendor's name of the processor and the widest vector instructions that torch uses."""
    info = Path("/proc/cpuinfo")
    rows = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [x.partition(":")[2].strip() for x in rows if x.startswith("model name")]
    return (
        f"{names[0] if names else 'unknown processor'} ({torch.backends.cpu.get_cpu_capability()})"
    )


def main() -> int:
    """Run the tests, print the table; 1 if some test is different or none was compared."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, help="a checkout of neuraloperator")
    parser.add_argument("-o", "--output", type=Path, help="where the table is written too")
    known, options = parser.parse_known_args()
    checkout = known.checkout.resolve()
    sys.path.insert(0, str(checkout))
    recorder = Recorder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own imports warn
        import neuralop.models

    recorder.wrap(neuralop.models)
    output = known.output.resolve() if known.output else None
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # one of the tests writes a checkpoint where it stands
        usual = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-W", "ignore"]
        where = ["--rootdir", str(checkout), "-c", os.devnull, str(checkout / TESTS)]
        pytest.main([*usual, *where, *options], plugins=[recorder])
        os.chdir(checkout)
    text = report(recorder.cases, commit_of(checkout), recorder.deselected)
    print(text)
    if output:
        output.write_text(text, encoding="utf-8")
    verdicts = {x.verdict for x in recorder.cases}
    return int("different" in verdicts or not verdicts - {"not called"})


def commit_of(checkout: Path) -> str:
    """The commit of a checkout; a plain copy has none, nor is that of a folder above it."""
    if not (checkout / ".git").exists():
        return "an unknown commit"
    command = ["git", "-C", str(checkout), "rev-parse", "--short=7", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  git
    return found.stdout.strip() or "an unknown commit"


if __name__ == "__main__":
    sys.exit(main())
