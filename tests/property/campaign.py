"""A campaign of damaged texts through the parser, with its figures.

    python -m tests.property.campaign --count 1000000 --seed 0

Every text is a program of this repository with one to four cuts, insertions, copies or swaps. None
may raise anything, take more than a second, or get a diagnostic whose place lies outside of it. A
part of the campaign is repeated by its seed: text i of seed s is always the same.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from opdsl.diagnostics import Source
from opdsl.diagnostics.carets import show
from opdsl.syntax.parser import parse
from tests.property.test_syntax import PROGRAMS, damaged, spans

PATIENCE = 1.0  # seconds of the processor for one text; a busy machine is no fault
SHOWN = 10  # every so many texts its diagnostics are also printed


@dataclass
class Figures:
    """What was met."""

    count: int = 0
    worst: float = 0.0
    codes: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        told = ", ".join(f"{k} {n:,}" for k, n in sorted(self.codes.items()))
        return f"{self.count:,} texts, worst {1000 * self.worst:.0f} ms; {told}"


def one(text: str, figures: Figures) -> None:
    """Read a text; anything but diagnostics in good time is a fault."""
    source = Source("damaged.op", text)
    began = time.process_time()
    file, faults = parse(source)
    took = time.process_time() - began
    assert took < PATIENCE, f"{took:.2f} s"
    for span in (*spans(file), *spans(faults)):
        assert span.source is source
        assert 0 <= span.start <= span.end <= len(text)
    if figures.count % SHOWN == 0:
        assert all(x.code in show(x) for x in faults)
    figures.count += 1
    figures.worst = max(figures.worst, took)
    figures.codes.update({x.code for x in faults} or {"none"})


def run(count: int, seed: int, every: int = 50_000) -> Figures:
    """The texts of a seed, and a line of figures now and then."""
    rng = random.Random(seed)  # noqa: S311  not for secrets
    texts = [x.read_text(encoding="utf-8") for x in PROGRAMS]
    figures = Figures()
    for number in range(count):
        text = damaged(rng.choice(texts), rng)
        try:
            one(text, figures)
        except BaseException:
            print(f"seed {seed}, text {number}:\n{text}", file=sys.stderr)  # noqa: T201  the finding
            raise
        if figures.count % every == 0:
            print(figures, flush=True)  # noqa: T201  the figure of the campaign
    return figures


if __name__ == "__main__":
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--count", type=int, default=1_000_000)
    reader.add_argument("--seed", type=int, default=0)
    given = reader.parse_args()
    print(run(given.count, given.seed))  # noqa: T201  the figure of the campaign
