"""Ours beside neuraloperator, its compiled form and an FNO written by hand: time, memory, error.

    PYTHONPATH=.:CHECKOUT python benchmarks/against_neuraloperator.py [--quick] [--case NAME ...]

CHECKOUT is a checkout of neuraloperator at its newest commit; `--release FOLDER` has another
installation that is compared too. Out go `results/against_neuraloperator.md`, `.json` and `.png`.

Each case runs in two processes, one with an allocator that reuses memory and one with that of the
C library as it is, the same for all competitors, which take turns inside. All have the same
weights, the same inputs, the same loss and the same optimizer, in float32, with one thread and with
two. Figures in the table are ratios within one process; nothing is compared across processes.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from against import measures, tables
from against.cases import CASES, TINY, Case, growth
from against.competitors import Competitor, NotThere, competitors
from torch import Tensor, nn

RESULTS = Path(__file__).parent / "results"
QUICK = ("fno2d-small", "uno", "sfno")
Found = dict[str, Any]


def main() -> None:
    """Measure, write, print."""
    options = arguments().parse_args()
    began = time.perf_counter()
    chosen = [x for x in (*CASES, TINY) if x.name in wanted(options)]
    found: Found = {"machine": tables.machine(), "quick": options.quick, "cases": {}}
    for case in chosen:
        found["cases"][case.name] = measured(case, options)
        tables.write(tuple(x for x in chosen if x.name in found["cases"]), found, options.out)
        print(tables.line(case, found["cases"][case.name]), flush=True)
    if options.growth:
        found["growth"] = grown(options)
    found["minutes"] = round((time.perf_counter() - began) / 60, 1)
    tables.write(chosen, found, options.out)
    print(f"wrote {options.out}.md after {found['minutes']} minutes")


def arguments() -> argparse.ArgumentParser:
    """Of the command."""
    told = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    told.add_argument("--case", action="append", help=f"{', '.join(x.name for x in CASES)}, tiny")
    told.add_argument("--quick", action="store_true", help="a minute: small cases, one thread")
    told.add_argument("--seconds", type=float, default=8.0, help="for each measured pair of calls")
    told.add_argument("--release", type=Path, help="a folder with another neuraloperator")
    told.add_argument(
        "--compile",
        action="append",
        metavar="NAME",
        default=[],
        help="of a case theirs compiled too",
    )
    told.add_argument("--growth", action="store_true", help="series over resolution, modes ...")
    told.add_argument("--out", type=Path, default=RESULTS / "against_neuraloperator")
    return told


def wanted(options: argparse.Namespace) -> tuple[str, ...]:
    """Names of cases."""
    if options.case:
        return tuple(options.case)
    return QUICK if options.quick else tuple(x.name for x in CASES)


def measured(case: Case, options: argparse.Namespace) -> Found:
    """All figures of a case; what could not be built says why."""
    threads = (1,) if options.quick else (1, 2)
    seconds = min(options.seconds, 1.0) if options.quick else options.seconds
    found: Found = {
        "reused": in_process(
            beside, case, threads, seconds, reuse=True, compiled=case.name in options.compile
        )
    }
    if "absent" in found["reused"]:
        return found["reused"]
    found["memory"] = memory(case, whole=not options.quick)
    found["accuracy"] = in_process(accuracy, case)
    found["roofline"] = in_process(roofline, case)
    if not options.quick:
        found["stock"] = in_process(beside, case, threads, seconds / 2)
    if options.release:
        found["release"] = in_process(
            beside, case, (1,), seconds / 2, reuse=True, library=options.release
        )
    return found


def grown(options: argparse.Namespace) -> Found:
    """The series, with one thread and memory reused."""
    seconds = min(options.seconds, 2.0)
    found: Found = {}
    for what, cases in growth().items():
        found[what] = []
        for value, case in cases:
            told = in_process(beside, case, (1,), seconds, reuse=True)
            if "absent" not in told:
                found[what].append({"value": value, "memory": memory(case, whole=False), **told})
        print(f"growth with {what}: measured", flush=True)
    return found


# --- a process for each ------------------------------------------------------------------------


def in_process(work: Callable[..., Found], *args: Any, **named: Any) -> Found:
    """The result of `work` in a process of its own, forked before any thread was started."""
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)
    child = fork.Process(target=_told, args=(there, work, args, named))
    child.start()
    there.close()
    try:
        found: Found = here.recv()
    except EOFError:
        found = {"absent": "the process ended, perhaps out of memory"}
    child.join()
    return found


def _told(pipe: Any, work: Callable[..., Found], args: Any, named: Any) -> None:
    torch.set_num_threads(1)
    try:
        pipe.send(work(*args, **named))
    except NotThere as error:
        pipe.send({"absent": str(error)})
    except Exception as error:  # noqa: BLE001  one case that fails leaves the others
        pipe.send({"absent": f"{type(error).__name__}: {error}"})


def beside(
    case: Case,
    threads: tuple[int, ...],
    seconds: float,
    *,
    reuse: bool = False,
    compiled: bool = False,
    library: Path | None = None,
) -> Found:
    """Times of all competitors, a forward pass and a step of training, by threads."""
    if reuse:
        measures.reuse_memory()
    if library:
        sys.path.insert(0, str(library))
    there = competitors(case, compiled=compiled)
    found: Found = {}
    for count in threads:
        torch.set_num_threads(count)
        forward = measures.in_turn({k: x.forward for k, x in there.items()}, seconds)
        step = measures.in_turn({k: x.trainer() for k, x in there.items()}, seconds)
        found[str(count)] = {
            "forward": measures.summed_up(forward),
            "step": measures.summed_up(step),
        }
    return found


def memory(case: Case, *, whole: bool) -> Found:
    """Bytes of a forward pass and of a step: of torch's allocator; `whole`: of the process too."""
    names = ("reference", "ours", *(("plain",) if case.kind == "FNO" and whole else ()))
    ways = (measures.peak, measures.resident)[: 1 + whole]
    return {
        name: {k: x for how in ways for k, x in in_process(_memory, case, name, how).items()}
        for name in names
    }


def _memory(case: Case, name: str, how: Callable[..., int]) -> Found:
    measures.silence()
    one = competitors(case)[name]
    step = one.trainer()
    step()
    return {f"{how.__name__}_forward": how(one.forward), f"{how.__name__}_step": how(step)}


def accuracy(case: Case) -> Found:
    """Relative errors against float64 of the result and of the gradient by the input.

    `last bit` is what weights make of it that are rounded to float32 anew, all else in float64.
    """
    there = competitors(case)
    # theirs computes spectra in single precision whatever comes in
    exact = deepcopy(there.get("plain", there["ours"]))
    wide = Competitor(measures.doubled(exact.module), exact.x.double(), exact.target.double())
    truth = both(wide)
    shaken = Competitor(measures.shaken(deepcopy(wide.module)), wide.x, wide.target)
    ways = {
        "fp32": nullcontext(),
        "bf16": torch.autocast("cpu", torch.bfloat16),
        "fp16": torch.autocast("cpu", torch.float16),
    }
    pairs = zip(both(shaken), truth, strict=True)
    found: Found = {"last bit": [measures.relative(a, b) for a, b in pairs]}
    for name, one in there.items():
        for way, context in ways.items():
            try:
                with context:
                    got = both(one)
                pairs = zip(got, truth, strict=True)
                found[f"{name} {way}"] = [measures.relative(a, b) for a, b in pairs]
            except (RuntimeError, NotImplementedError) as error:
                found[f"{name} {way}"] = str(error).splitlines()[0][:80]
    return found


def both(one: Competitor) -> tuple[Tensor, Tensor]:
    """The result, and the gradient of the loss by the input."""
    x = one.x.clone().requires_grad_()
    y = one.module(x)
    loss = nn.functional.mse_loss(y.to(one.target.dtype), one.target)
    # scaled, as in training, so that float16 does not lose it; errors are relative
    (gradient,) = torch.autograd.grad(loss * loss.new_tensor(y.numel()), x)
    return y.detach(), gradient


def roofline(case: Case) -> Found:
    """Operations in matrix products, what the machine does at this shape, time of ours.

    Counted where no operation is fused, so that nothing is computed again. The matrix product takes
    turns with the model: both meet what else runs.
    """
    measures.reuse_memory()
    ours = competitors(case)["ours"]
    product = measures.Product(case.batch * math.prod(case.grid), case.width)
    calls = {"forward": ours.forward, "step": ours.trainer()}
    times = measures.in_turn({"product": product.call, **calls}, 2.0)
    ms = {k: x["ms"] for k, x in measures.summed_up(times).items()}
    return {
        "rate": 1e3 * product.flops / ms.pop("product"),
        "flops": {k: measures.operations(ours.module, x) for k, x in calls.items()},
        "ms": ms,
    }


if __name__ == "__main__":
    main()
