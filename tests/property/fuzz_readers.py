"""A campaign of damaged files through every reader, with its figures.

    python -m tests.property.fuzz_readers --count 5000 --seed 0

Input i of seed s is always the same: a good file with one to four changes of its bytes, its
numbers, the records of its archive, or the values of its state. A reader may raise `OpError` and
nothing else, and may take 2 s of processor time and 1 GiB of memory. Each worker reads many files;
limits of the system are set anew for each, and what ends a worker is a finding too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import torch

from opdsl.cli.console import UsageError
from opdsl.diagnostics import OpError
from tests.property.readers import Reader, make_readers, reopened_zip

SECONDS = 2.0  # of the processor, for one input
MEMORY = 1 << 30  # bytes, for one input
BATCH = 100  # inputs of one worker

WORDS = (b"-1", b"0", b"99999999999", b"4294967295", b"9223372036854775808", b"1e308", b"nan")
BYTES = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\xff\xff\xff\x7f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x80",
)
VALUES = (None, -1, 2**70, float("nan"), "x", (), [], {}, [[]], torch.tensor(float("nan")), True)


@dataclass
class Figures:
    """What was met."""

    count: int = 0
    worst: float = 0.0
    worst_at: str = ""
    codes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = ", ".join(f"{k} {n:,}" for k, n in sorted(self.codes.items()))
        worst = f"worst {self.worst:.2f} s ({self.worst_at})"
        return f"{self.count:,} inputs, {len(self.findings)} findings, {worst}; {told}"


# --- damage -------------------------------------------------------------------------------------


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The file with one to four changes, of its records where it is an archive."""
    if data.startswith(b"PK\x03\x04"):
        way = rng.random()
        if way < 0.3 and b"data.pkl" in data:
            return _other_values(data, rng)
        if way < 0.7:
            return _other_record(data, rng)
    for _ in range(rng.randint(1, 4)):
        data = _change(data, rng)
    return data


def _other_record(data: bytes, rng: random.Random) -> bytes:
    """A record changed, its checksum right."""
    records, kinds = reopened_zip(data)
    name = rng.choice([x for x in records if "data.pkl" in x] or sorted(records))
    if rng.random() < 0.3:
        name = rng.choice(sorted(records))
    records[name] = _change(records[name], rng)
    made = BytesIO()
    with zipfile.ZipFile(made, "w") as held:
        for key, value in records.items():
            held.writestr(key, value, kinds[key])
    return made.getvalue()


def _other_values(data: bytes, rng: random.Random) -> bytes:
    """A value of the state replaced by one of another type, or left out."""
    try:
        held = torch.load(BytesIO(data), weights_only=True)
    except Exception:  # noqa: BLE001  a checkpoint with a class in it
        return _change(data, rng)
    places = list(_places(held))
    if not places:
        return _change(data, rng)
    home, key = rng.choice(places)
    if isinstance(home, dict) and rng.random() < 0.2:
        del home[key]
    else:
        home[key] = rng.choice((*VALUES, torch.zeros(rng.choice(((), (0,), (3,), (2, 2))))))
    made = BytesIO()
    torch.save(held, made)
    return made.getvalue()


def _places(held: object) -> list[tuple[object, object]]:
    found: list[tuple[object, object]] = []
    waiting = [held]
    while waiting:
        x = waiting.pop()
        inside = list(x) if isinstance(x, dict) else range(len(x)) if isinstance(x, list) else ()
        for key in inside:
            found.append((x, key))
            waiting.append(x[key])  # type: ignore[index]
    return found


def _change(data: bytes, rng: random.Random) -> bytes:
    """One change of bytes."""
    size = len(data)
    at = rng.randrange(size + 1)
    end = min(size, at + rng.choice((1, 2, 4, 8, 64, 512)))
    numbers = list(re.finditer(rb"-?\d+\.?\d*", data[: 1 << 16]))
    match rng.randrange(8):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + rng.choice(BYTES) + data[end:]
        case 2:
            return data[:at] + data[end:]
        case 3:
            return data[:end] + data[at:end] * rng.choice((1, 2, 50)) + data[end:]
        case 4 | 5 if numbers:
            one = rng.choice(numbers)
            return data[: one.start()] + rng.choice(WORDS) + data[one.end() :]
        case 6:
            other = rng.randrange(size + 1)
            return data[:at] + data[other : other + 32] + data[at:]
        case _:
            at = min(at, max(size - 1, 0))
            flipped = bytes([data[at] ^ 1 << rng.randrange(8)]) if data else b"{"
            return data[:at] + flipped + data[at + 1 :]


def make_input(reader: Reader, folder: Path, rng: random.Random) -> Path:
    """A damaged file, or a folder with one, below `folder`."""
    seed = rng.choice(reader.seeds)
    target = folder / seed.name
    if not reader.parts:
        target.write_bytes(damaged(seed.read_bytes(), rng))
        return target
    shutil.copytree(seed, target)
    inside = [x for part in reader.parts for x in sorted(target.glob(part)) if x.is_file()]
    victim = rng.choice(inside)
    victim.write_bytes(damaged(victim.read_bytes(), rng))
    if reader.seal and rng.random() < 0.9:
        reader.seal(target)
    return target


# --- reading, in workers ------------------------------------------------------------------------


def one(reader: Reader, path: Path) -> str:
    """Read; the codes of the diagnostics, or a finding that begins with `!`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(path)
    except (OpError, UsageError) as error:
        if isinstance(error, UsageError):
            return "usage"
        str(error)
        return error.diagnostics[0].code
    except BaseException as error:  # noqa: BLE001  that is the finding
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())[:160]
        return f"!{type(error).__name__}: {text} ({Path(last.filename).name}:{last.lineno})"
    return "read"


def _work(readers: tuple[Reader, ...], seed: int, numbers: range, out: int) -> None:
    """Read inputs and tell of each in a line; ends with the process."""
    with os.fdopen(out, "w") as answers, tempfile.TemporaryDirectory() as home:
        for number in numbers:
            folder = Path(home, str(number))
            folder.mkdir()
            rng = random.Random(f"{seed}/{number}")  # noqa: S311  not for secrets
            path = make_input(readers[number % len(readers)], folder, rng)
            print(json.dumps({"begun": number}), file=answers, flush=True)
            before = _limit()
            result = one(readers[number % len(readers)], path)
            took = _processor() - before
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
            print(json.dumps({"took": took, "result": result}), file=answers, flush=True)
            shutil.rmtree(folder, ignore_errors=True)


def _limit() -> float:
    """Bound what the next input may take; the processor time until now."""
    before = _processor()
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(before + 2 * SECONDS) + 1, hard))
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    return before


def _processor() -> float:
    """Seconds of this process and of its children, those that still run too."""
    total = sum(os.times()[:4])
    for stat in Path("/proc/self/task").glob("*/children"):
        for child in stat.read_text(encoding="ascii").split():
            fields = Path("/proc", child, "stat").read_text(encoding="ascii").rpartition(")")[2]
            total += sum(map(int, fields.split()[11:13])) / os.sysconf("SC_CLK_TCK")
    return total


def _batch(readers: tuple[Reader, ...], seed: int, numbers: range, figures: Figures) -> None:
    """A worker for these inputs, and another one behind each that ends it."""
    while numbers:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            code = 1
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                _work(readers, seed, numbers, writing)
                code = 0
            finally:
                os._exit(code)
        os.close(writing)
        with os.fdopen(reading) as answers:
            lines = [json.loads(x) for x in answers]
        _, status = os.waitpid(child, 0)
        begun = [x["begun"] for x in lines if "begun" in x]
        for number, done in zip(begun, (x for x in lines if "took" in x), strict=False):
            _count(readers, number, done["took"], done["result"], figures)
        finished = sum("took" in x for x in lines)
        if finished < len(begun):
            _count(readers, begun[-1], 0, f"!the worker ended: {status}", figures)
        elif finished < len(numbers):
            raise RuntimeError(f"a worker failed before it read: {status}")
        numbers = range(numbers.start + max(len(begun), 1), numbers.stop)


def _count(
    readers: tuple[Reader, ...], number: int, took: float, result: str, figures: Figures
) -> None:
    name = readers[number % len(readers)].name
    figures.count += 1
    if took > figures.worst:
        figures.worst, figures.worst_at = took, f"{name}, input {number}"
    if took > SECONDS:
        result = f"!{took:.1f} s of processor time"
    if result.startswith("!"):
        figures.findings.append(f"input {number}, {name}: {result[1:]}")
        print(figures.findings[-1], file=sys.stderr, flush=True)  # noqa: T201  the finding
    figures.codes[result if result[0] != "!" else "finding"] += 1


def run(count: int, seed: int, *, workers: int = 1, first: int = 0) -> Figures:
    """The inputs of a seed."""
    torch.set_num_threads(1)
    figures = Figures()
    with tempfile.TemporaryDirectory() as home:
        readers = make_readers(Path(home))
        starts = range(first, first + count, BATCH)
        batches = [range(i, min(i + BATCH, first + count)) for i in starts]
        if workers == 1:
            for numbers in batches:
                _batch(readers, seed, numbers, figures)
            return figures
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda x: _batch(readers, seed, x, figures), batches))
    return figures


def keep(number: int, seed: int, target: Path) -> None:
    """Write an input of the campaign into the folder `target`."""
    with tempfile.TemporaryDirectory() as home:
        readers = make_readers(Path(home))
        target.mkdir(parents=True)
        rng = random.Random(f"{seed}/{number}")  # noqa: S311  not for secrets
        make_input(readers[number % len(readers)], target, rng)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=5000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--first", type=int, default=0, help="number of the first input")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--keep", type=Path, help="write the first input here, and read none")
    given = options.parse_args()
    if given.keep:
        keep(given.first, given.seed, given.keep)
    else:
        met = run(given.count, given.seed, workers=given.workers, first=given.first)
        print(met)  # noqa: T201  the figures of the campaign
        sys.exit(bool(met.findings))
