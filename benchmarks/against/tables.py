"""Results as text, JSON and pictures: ratios, which say nothing of the machine's speed.

Writes `PATH.md`, `PATH.json`, `PATH.png` of the figures that `against_neuraloperator.py` collects.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from against.cases import Case

Found = dict[str, Any]
LITTLE = 1 << 18  # bytes
HEAD = """# Beside neuraloperator

{machine} torch {torch}, float32.
Made by `benchmarks/against_neuraloperator.py`, whose head says how.
All figures are ratios to neuraloperator's newest commit within one process: how many times faster,
how many times less memory. Memory is the peak of torch's allocator during a step of training or a
forward pass above what lives before it. **Bold** figures reach the floor that was set for them.
"""


def machine() -> Found:
    """What the machine is, in words that name no one."""
    import torch

    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    sets = [
        name
        for key, name in (("avx512f", "AVX-512"), ("amx_tile", "AMX"), ("avx2", "AVX2"))
        if f" {key}" in told
    ]
    kind = "a virtual machine" if " hypervisor" in told else "a machine"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    words = f"{os.cpu_count()} cores of {kind} with {', '.join(sets[:2])}, {memory:.0f} GiB."
    return {"words": words, "torch": torch.__version__}


def line(case: Case, found: Found) -> str:
    """One case as it is measured, for the terminal."""
    if "absent" in found:
        return f"{case.name}: {found['absent']}"
    one = found["reused"]["1"]
    step, forward = (one[x]["ours"]["ratio"] for x in ("step", "forward"))
    return f"{case.name}: step {step:.2f}, inference {forward:.2f}, memory {said(less(found))} less"


def write(cases: Sequence[Case], found: Found, path: Path) -> None:
    """All three files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    path.with_suffix(".md").write_text("\n".join(text(cases, found)) + "\n")
    if found.get("growth"):
        plot(found["growth"], path.with_suffix(".png"))


def text(cases: Sequence[Case], found: Found) -> Iterator[str]:
    """The tables."""
    there = {x: found["cases"][x.name] for x in cases if "absent" not in found["cases"][x.name]}
    told = found["machine"]
    yield HEAD.format(machine=told["words"], torch=told["torch"])
    if found["quick"]:
        yield "Made with `--quick`: few repetitions, one thread, small cases.\n"
    yield from floors(there)
    yield from absent(cases, found["cases"])
    yield from others(there)
    yield from threads(there)
    yield from memories(there)
    yield from errors(there)
    yield from limits(there)
    if found.get("growth"):
        yield from series(found["growth"])


def rows(title: str, head: Sequence[str], body: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table, if it has rows."""
    if not body:
        return
    yield f"## {title}\n"
    for cells in (head, ["---"] * len(head), *body):
        yield f"| {' | '.join(cells)} |"
    yield ""


def ratio(found: Found, run: str, count: str, what: str, who: str = "ours") -> float | None:
    """How many times faster than the reference."""
    try:
        return found[run][count][what][who]["ratio"]
    except (KeyError, TypeError):
        return None


def less(found: Found, what: str = "step", who: str = "ours", how: str = "peak") -> float | None:
    """How many times less memory than the reference; None: too little to tell."""
    own, first = (found["memory"][x].get(f"{how}_{what}", 0) for x in (who, "reference"))
    return first / own if min(own, first) >= LITTLE else None


def said(value: float | None, floor: float = 0.0) -> str:
    """`**2.91** (2.8)`: a figure beside its floor."""
    if value is None:
        return "-"
    figure = f"{value:.3g}" if value >= 10 else f"{value:.2f}"
    if not floor:
        return figure
    return f"**{figure}** ({floor:g})" if value >= floor else f"{figure} ({floor:g})"


def floors(there: dict[Case, Found]) -> Iterator[str]:
    """The table of the goals: one thread, memory reused."""
    head = [
        "case",
        "training step",
        "inference",
        "memory in training",
        "error",
        "theirs",
        "last bit",
    ]
    body = []
    for case, found in there.items():
        step, forward, memory = case.floors
        own, their = (found["accuracy"][f"{x} fp32"] for x in ("ours", "reference"))
        body.append(
            [
                case.title,
                said(ratio(found, "reused", "1", "step"), step),
                said(ratio(found, "reused", "1", "forward"), forward),
                said(less(found), memory),
                error(own),
                error(their),
                error(found["accuracy"]["last bit"]),
            ]
        )
    yield from rows("One thread, an allocator that reuses memory (the floor behind)", head, body)
    if body:
        yield (
            "Errors are relative to float64, of the result / of the gradient by the input.\n"
            "`last bit`: what weights rounded to float32 anew make of it, the rest in float64.\n"
        )


def absent(cases: Sequence[Case], found: Found) -> Iterator[str]:
    """What was not measured, and why."""
    for case in cases:
        if "absent" in found[case.name]:
            yield f"Not measured: {case.title}: {found[case.name]['absent']}.\n"


def others(there: dict[Case, Found]) -> Iterator[str]:
    """The other competitors, as ratios to the same reference."""
    names = ("plain", "compiled")
    body = [
        [case.title, who, *(said(ratio(found, "reused", "1", x, who)) for x in ("step", "forward"))]
        for case, found in there.items()
        for who in names
        if ratio(found, "reused", "1", "step", who)
    ]
    body += [
        [
            case.title,
            "ours, to the release",
            *(said(ratio(found, "release", "1", x)) for x in HALVES),
        ]
        for case, found in there.items()
        if "release" in found and "absent" not in found["release"]
    ]
    head = ["case", "who", "training step", "inference"]
    yield from rows("Others: plain is an FNO written by hand, compiled is theirs", head, body)


HALVES = ("step", "forward")


def threads(there: dict[Case, Found]) -> Iterator[str]:
    """Threads and allocators."""
    head = ["case", "reused, 1", "reused, 2", "stock, 1", "stock, 2"]
    body = []
    for case, found in there.items():
        cells = [
            " / ".join(said(ratio(found, run, count, x)) for x in HALVES)
            for run in ("reused", "stock")
            for count in ("1", "2")
        ]
        if "stock" in found:
            body.append([case.title, *cells])
    yield from rows("Step / inference by allocator and threads", head, body)


def memories(there: dict[Case, Found]) -> Iterator[str]:
    """Of torch's allocator, and of the whole process with the allocator as it is."""
    head = ["case", "training", "inference", "process, training", "process, inference"]
    body = [
        [
            case.title,
            *(said(less(found, x, how=how)) for how in ("peak", "resident") for x in HALVES),
        ]
        for case, found in there.items()
        if "resident_step" in found["memory"]["ours"]
    ]
    yield from rows("Memory: how many times less than the reference", head, body)


def error(pair: Any) -> str:
    """`2e-07 / 4e-07`, or why there is none."""
    return pair if isinstance(pair, str) else " / ".join(f"{x:.0e}" for x in pair)


def errors(there: dict[Case, Found]) -> Iterator[str]:
    """By precision."""
    ways = ("fp32", "bf16", "fp16")
    body = [
        [case.title, who, *(error(found["accuracy"][f"{who} {way}"]) for way in ways)]
        for case, found in there.items()
        for who in ("reference", "ours")
    ]
    head = ["case", "who", *ways]
    title = (
        "Relative error against float64, same weights: of the result / of the gradient by the input"
    )
    yield from rows(title, head, body)
    if body:
        yield "bf16 and fp16 are torch's autocast. A CPU has no tf32.\n"


def limits(there: dict[Case, Found]) -> Iterator[str]:
    """How near to the matrix products' limit."""
    body = []
    for case, found in there.items():
        limit = found["roofline"]
        if "absent" in limit:
            continue
        own = [limit["flops"][x] / limit["rate"] / limit["ms"][x] * 1e3 for x in HALVES]
        body.append([case.title, *(f"{100 * x:.0f} %" for x in own)])
    head = ["case", "training step", "inference"]
    title = "Share of the rate of a matrix product of the layers' shape, measured in the same run"
    yield from rows(title, head, body)


def series(growth: Found) -> Iterator[str]:
    """Growth with each quantity."""
    body = [
        [
            what,
            str(x["value"]),
            *(said(ratio({"r": x}, "r", "1", y)) for y in HALVES),
            said(less(x)),
        ]
        for what, values in growth.items()
        for x in values
    ]
    head = ["varied", "value", "training step", "inference", "memory in training"]
    title = "Growth around FNO 2-D 64x64, 16 modes, width 32, batch 8"
    yield from rows(title, head, body)


def plot(growth: Found, path: Path) -> None:
    """A panel for each quantity."""
    from matplotlib.figure import Figure

    shown = {what: values for what, values in growth.items() if values}
    figure = Figure(figsize=(2.6 * len(shown), 2.4), layout="constrained")
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, (what, values) in zip(panels, shown.items(), strict=True):
        at = [x["value"] for x in values]
        for label, own in (
            ("step", [ratio({"r": x}, "r", "1", "step") for x in values]),
            ("inference", [ratio({"r": x}, "r", "1", "forward") for x in values]),
            ("memory", [less(x) for x in values]),
        ):
            axes.plot(at, own, marker="o", markersize=3, label=label)
        axes.axhline(1.0, color="0.6", linewidth=0.8)
        axes.set(xscale="log", xlabel=what)
        axes.set_xticks(at, [str(x) for x in at])
        axes.minorticks_off()
    panels[0].set_ylabel("times better")
    panels[0].legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=100)
