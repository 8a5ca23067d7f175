"""The Representative PDE Benchmarks: a folder for each problem, with a file for each split.

Files of one seed differ in their samples: each has a seed of its own, which is derived from the
seed of the command, the name of the problem and that of the split.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from opdsl.data.generate import GeneratedFile
from opdsl.data.generate.problems import allen_cahn, darcy, poisson, shear_layer, transport, wave
from opdsl.data.generate.rpb import NAMES
from opdsl.data.progress import ProgressCallback
from opdsl.diagnostics import fault
from opdsl.files import read_json, write_whole

Generate = Callable[..., GeneratedFile]

DONE = "done.json"  # the settings of the files of a folder that are complete
MOST_SAMPLES = 1 << 20


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A problem of the benchmarks.

    Attributes:
        generate: of its generator.
        options: in and out of distribution, by `in` and `out`.
        splits: the published number of samples of train, valid, test and out.
        parallel: whether the generator computes samples in parallel.
    """

    generate: Generate
    options: Mapping[str, Mapping[str, Any]]
    splits: tuple[int, int, int, int]
    parallel: bool = False


def _laws(**options: Any) -> dict[str, dict[str, Any]]:
    return {x: {"distribution": x, **options} for x in ("in", "out")}


BENCHMARKS: dict[str, Benchmark] = {
    "poisson": Benchmark(poisson.generate, _laws(), (1024, 128, 256, 256)),
    "wave": Benchmark(wave.generate, _laws(), (512, 128, 256, 256)),
    "smooth-transport": Benchmark(transport.generate, _laws(shape="smooth"), (512, 256, 256, 256)),
    "discontinuous-transport": Benchmark(
        transport.generate, _laws(shape="disc"), (512, 256, 256, 256)
    ),
    "allen-cahn": Benchmark(allen_cahn.generate, _laws(), (256, 128, 128, 128), parallel=True),
    "navier-stokes": Benchmark(shear_layer.generate, _laws(), (750, 128, 128, 128), parallel=True),
    "darcy": Benchmark(
        darcy.generate,
        {"in": dict(scale=0.1), "out": dict(scale=0.05)},  # noqa: C408  no table of blocks
        (256, 128, 128, 128),
        parallel=True,
    ),
}
SPLITS = ("train", "valid", "test", "out")


@dataclass(frozen=True, slots=True)
class _Task:
    """A file to write."""

    name: str
    split: str
    samples: int
    settings: Mapping[str, Any]

    @property
    def file(self) -> str:
        """Its path in the folder."""
        return f"{self.name}/{self.split}.h5"


def generate(
    *,
    out: Path,
    seed: int,
    resolution: int = 64,
    samples: int | None = None,
    problem: str = "all",
    distribution: str = "both",
    workers: int = 2,
    progress: ProgressCallback | None = None,
) -> GeneratedFile:
    """Generate the folder of the benchmarks, each file of which is checked by its generator.

    Args:
        out: the folder; files of equal settings in it are not computed again.
        seed: 0 to 2^64 - 1.
        resolution: points on each axis.
        samples: of each file; the published numbers if None.
        problem: a name of BENCHMARKS, or `all`.
        distribution: `in`, `out` or `both`.
        workers: processes, where a generator has these.
        progress: is called with the samples done and all samples.

    Raises:
        OpError: OP0604 a setting does not fit; OP0617 a check failed; OP0625 a file cannot be
            written. Files that are complete remain.

    Source: Raonic et al. 2023, arXiv:2302.01178.
    """
    started = time.monotonic()
    _refuse_bad(seed, samples, problem, distribution)
    tasks = list(_tasks(seed, resolution, samples, problem, distribution))
    total, before, errors = sum(x.samples for x in tasks), 0, dict[str, float]()
    for task in tasks:
        errors |= _write(task, out, workers, partial(_shifted, progress, before, total))
        before += task.samples
    names = dict.fromkeys(x.name for x in tasks)
    return GeneratedFile(
        out,
        total,
        size={"resolution": resolution, "files": len(tasks)},
        seconds=time.monotonic() - started,
        checks=errors,
        extent=f"at {resolution}x{resolution} in {len(tasks)} files",
        checked=(f"each file by the generator of its problem: {', '.join(names)}",),
    )


def _refuse_bad(seed: int, samples: int | None, problem: str, distribution: str) -> None:
    wrong = [
        (f"the problem `{problem}`; it is one of all, {', '.join(NAMES)}", problem),
        (f"the distribution `{distribution}`; it is one of both, in, out", distribution),
    ]
    valid = [problem in ("all", *BENCHMARKS), distribution in ("both", "in", "out")]
    messages = [text for (text, _), good in zip(wrong, valid, strict=True) if not good]
    if samples is not None and not 1 <= samples <= MOST_SAMPLES:
        messages.append(f"{samples} samples; it is 1 to {MOST_SAMPLES}")
    if not 0 <= seed < 1 << 64:
        messages.append(f"the seed {seed}; it is one of 0 to 2^64 - 1")
    if messages:
        raise fault("OP0604", f"cannot make benchmark data with {messages[0]}")


def _tasks(
    seed: int, resolution: int, samples: int | None, problem: str, distribution: str
) -> Iterator[_Task]:
    for name in NAMES if problem == "all" else (problem,):
        benchmark = BENCHMARKS[name]
        for split, published in zip(SPLITS, benchmark.splits, strict=True):
            law = "out" if split == "out" else "in"
            if distribution in ("both", law):
                count = published if samples is None else samples
                settings = {
                    **benchmark.options[law],
                    "resolution": resolution,
                    "samples": count,
                    "seed": derived_seed(seed, name, split),
                }
                yield _Task(name, split, count, settings)


def derived_seed(seed: int, name: str, split: str) -> int:
    """Return the seed of a file, 0 to 2^64 - 1."""
    digest = hashlib.sha256(f"{seed} {name} {split}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def _write(
    task: _Task, out: Path, workers: int, progress: Callable[[int, int], None]
) -> dict[str, float]:
    """Write a file unless a complete one of equal settings exists; return its checks."""
    target, record = out / task.file, out / task.name / DONE
    done = _read_record(record)
    entry = done.get(task.split)
    if entry and entry.get("settings") == dict(task.settings) and target.is_file():
        progress(task.samples, task.samples)
        checks: dict[str, float] = entry["checks"]
        return {f"{task.file} {k}": x for k, x in checks.items()}
    parallel = {"workers": workers} if BENCHMARKS[task.name].parallel else {}
    file = BENCHMARKS[task.name].generate(
        **task.settings, **parallel, out=target, progress=progress
    )
    done[task.split] = {"settings": dict(task.settings), "checks": dict(file.checks)}
    try:
        write_whole(record, json.dumps(done, indent=2).encode())
    except OSError as error:
        raise fault(
            "OP0625", f"cannot write {record.name}: {error.strerror}", file=str(record)
        ) from error
    return {f"{task.file} {k}": x for k, x in file.checks.items()}


def _read_record(path: Path) -> dict[str, Any]:
    """Return the complete files by split; nothing if there is no record, or it is damaged."""
    try:
        record = read_json(path)
    except (OSError, ValueError):
        return {}
    good = isinstance(record, dict) and all(
        isinstance(x, dict) and isinstance(x.get("checks"), dict) for x in record.values()
    )
    return record if good else {}


def _shifted(progress: ProgressCallback | None, before: int, total: int, done: int, _: int) -> None:
    if progress:
        progress(before + done, total)
