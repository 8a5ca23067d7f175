"""Trials of `opdsl train` that write no run: `--dry-run`, `--find-lr`, `--overfit`, `--profile`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from opdsl.cli.console import UsageError, result, show_json, table, warn

if TYPE_CHECKING:
    from opdsl.train.config.settings import ResolvedSettings
    from opdsl.workflow.experiments.step_profile import StepProfile
    from opdsl.workflow.experiments.trials import DryRun, OverfitTest, RateTest
    from opdsl.workflow.programs.program import Program

ROWS = 12  # rates or steps that are shown
SLOWEST = 20  # nodes that are shown


def chosen_trial(
    *, dry_run: bool, find_lr: bool, overfit: int | None, profile: bool, resumes: bool
) -> str | None:
    """Return the trial that the options choose; None for training.

    Raises:
        UsageError: they choose several, or a trial of a run that goes on.
    """
    wanted = {"--dry-run": dry_run, "--find-lr": find_lr}
    wanted |= {"--overfit": overfit is not None, "--profile": profile}
    names = [k for k, x in wanted.items() if x]
    if len(names) > 1:
        raise UsageError(f"`{names[0]}` and `{names[1]}` are two trials: choose one")
    if names and resumes:
        raise UsageError(f"`{names[0]}` begins with fresh weights: leave `--resume` out")
    if overfit is not None and overfit < 1:
        raise UsageError(f"`--overfit {overfit}`: write a number of samples")
    return names[0] if names else None


def run_trial(
    name: str,
    program: Program,
    resolved: ResolvedSettings,
    *,
    source: Path | None,
    overfit: int | None,
    as_json: bool,
) -> None:
    """Run a trial and print its result."""
    from contextlib import closing

    from opdsl.workflow.training.own_loop import prepared_training

    with closing(prepared_training(program, resolved, source=source, warn=warn)) as training:
        from opdsl.workflow.experiments import step_profile, trials

        trial: Any
        match name:
            case "--dry-run":
                trial = trials.dry_run(training)
                text = _dry_run(trial)
            case "--find-lr":
                trial = trials.find_rate(training)
                text = _rates(trial)
            case "--overfit":
                steps = resolved.settings.schedule.epochs
                trial = trials.overfit(training, overfit or 1, steps)
                text = _overfit(trial, overfit or 1)
            case _:
                trial = step_profile.profile_step(training)
                text = _profile(trial)
    if as_json:
        show_json(trial.to_json())
    else:
        result(text)


def _dry_run(trial: DryRun) -> str:
    rows = [
        ("samples", f"{trial.samples} to learn from, {trial.valid_samples} for validation"),
        ("parameters", f"{trial.parameters:,}"),
        ("first loss", f"{trial.loss:.4g}"),
        ("step", f"{_time(trial.step_seconds)}, {trial.precision} on {trial.device}"),
        ("epoch", f"{trial.steps} steps, validation {_time(trial.valid_seconds)}"),
        ("run", f"{trial.epochs} epochs, about {_time(trial.seconds)}"),
    ]
    return table(rows, left=2) + "\nall checks have passed, and nothing was written"


def _rates(trial: RateTest) -> str:
    stride = max(1, len(trial.rates) // ROWS)
    pairs = list(zip(trial.rates, trial.losses, strict=True))[::stride]
    rows = [("rate", "loss"), *((f"{r:.2g}", f"{x:.4g}") for r, x in pairs)]
    end = "" if trial.diverged is None else f"; it explodes at {trial.diverged:.2g}"
    note = f"the loss falls fastest at {trial.suggestion:.2g}{end}"
    return f"{table(rows, left=0)}\n{note}\nuse it: --set optimizer.lr={trial.suggestion:g}"


def _overfit(trial: OverfitTest, wanted: int) -> str:
    steps = len(trial.losses)
    stride = max(1, steps // ROWS)
    shown = [*range(0, steps - 1, stride), steps - 1]
    rows = [("step", "loss"), *((str(i + 1), f"{trial.losses[i]:.4g}") for i in shown)]
    all_of = "all " if trial.samples < wanted else ""
    text = f"{all_of}{trial.samples} samples at the rate {trial.rate:g}: the loss fell to "
    text += f"{100 * trial.ratio:.2g} % in {steps} steps"
    if trial.ratio > 0.1:
        text += "\nthe model hardly learns them: see whether inputs determine outputs, "
        text += "raise `optimizer.lr`, width or `--epochs`"
    return f"{table(rows, left=0)}\n{text}"


def _profile(trial: StepProfile) -> str:
    heads = ("node", "block", "calls", "forward", "backward", "share", "saved", "weights")
    total = sum(x.seconds for x in trial.nodes) + trial.rest
    rows = [
        (
            x.path,
            x.block,
            str(x.calls),
            _time(x.forward),
            _time(x.backward),
            f"{100 * x.seconds / total:.0f} %",
            _bytes(x.saved),
            _bytes(x.weights),
        )
        for x in trial.nodes[:SLOWEST]
    ]
    hidden = trial.nodes[SLOWEST:]
    lines = [table([heads, *rows], left=2)]
    if hidden:
        seconds = sum(x.seconds for x in hidden)
        lines.append(f"and {len(hidden)} more nodes, {_time(seconds)}")
    saved, weights = sum(x.saved for x in trial.nodes), sum(x.weights for x in trial.nodes)
    lines.append(f"a step of {trial.batch} samples takes {_time(trial.seconds)}")
    lines.append(f"{_time(trial.rest)} of it are loss, normalisation and optimizer")
    lines.append(f"kept for the gradient {_bytes(saved)}, weights {_bytes(weights)}")
    if trial.peak is not None:
        lines.append(f"at most {_bytes(trial.peak)} on the device")
    if trial.fused:
        lines.append(
            f"{trial.fused} subgraphs run as one operation each, faster than the sum of their nodes"
        )
    return "\n".join(lines)


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{1e6 * seconds:.0f} us"
    if seconds < 1:
        return f"{1e3 * seconds:.1f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
