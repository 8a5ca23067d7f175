"""Measures the rates of `opdsl/lower/plan/planner.py` on this machine and checks its choices.

    OMP_NUM_THREADS=1 python benchmarks/kernel_rates.py

Both kernels of `spectral_conv` run on cases of one to three axes, forward alone, in float32,
taken in turn, the least time of several. The rates are fitted to every other case (`fit`), after
the peaks of this machine for comparison. The table tells for every case what the rates in the
package predict and what was measured; a choice is right if it is the faster kernel or within 20 %
of it. The cases that had no part in the fit are counted apart.
"""

import math
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from scipy.optimize import least_squares

from opdsl.blocks.spectral.spectral_conv import SpectralConv
from opdsl.ir.axes import Axis
from opdsl.ir.block import Work
from opdsl.ir.spaces import Domain, Space
from opdsl.lower.plan.planner import RATES, predict

REPEATS = 7
SLACK = 1.2
CASES = (  # grid, modes, channels, batch
    ((1024,), (16,), 64, 20),
    ((1024,), (64,), 64, 20),
    ((1024,), (256,), 64, 20),
    ((4096,), (16,), 64, 8),
    ((4096,), (128,), 64, 8),
    ((8192,), (1024,), 32, 4),
    ((64, 64), (16, 16), 32, 16),
    ((64, 64), (31, 31), 64, 8),
    ((128, 128), (16, 16), 32, 8),
    ((128, 128), (63, 63), 32, 4),
    ((256, 256), (16, 16), 32, 2),
    ((256, 256), (64, 64), 32, 2),
    ((32, 32, 32), (8, 8, 8), 32, 2),
    ((64, 64, 64), (8, 8, 8), 16, 1),
    ((64, 64, 64), (24, 24, 24), 8, 1),
)


Times = dict[str, float]


def main():
    torch.manual_seed(0)
    print(f"threads {torch.get_num_threads()}, torch {torch.__version__}\n")
    show("peak", (gemm_rate(), fft_rate(), moved_rate()))
    cases = [Case(*x) for x in CASES]
    met = [x.measure() for x in cases]
    show("fitted", fit(cases[::2], met[::2]))
    show("in use", (RATES["cpu"].gemm, RATES["cpu"].fft, RATES["cpu"].moved))
    print(f"\n{'grid':>12} {'modes':>11} {'c':>3} {'b':>3}  predicted ms           measured ms")
    good = [verdict(*x) for x in zip(cases, met, strict=True)]
    fitted, others = good[::2], good[1::2]
    print(f"\nright: {sum(fitted)} of {len(fitted)} fitted, {sum(others)} of {len(others)} others")


def show(what: str, rates: tuple[float, ...]) -> None:
    """Of one core, or of all where it is the peak of several."""
    print("{:8} gemm {:.2e} flop/s  fft {:.2e} flop/s  moved {:.2e} B/s".format(what, *rates))


class Case:
    """One layer at one resolution."""

    def __init__(self, grid: tuple[int, ...], modes: tuple[int, ...], channels: int, batch: int):
        axes = tuple(Axis(name=name, boundary="periodic") for name in "xyz"[: len(grid)])
        self.grid, self.modes, self.batch = grid, modes, batch
        self.space = Space(domain=Domain(name="D", axes=axes), channels=channels)
        self.block = SpectralConv(modes=modes)

    def measure(self) -> Times:
        """Milliseconds of each kernel here."""
        module = self.block.lower(self.space)
        x = torch.randn(self.batch, *self.grid, self.space.channels)
        calls = {k: partial(module, x, size=self.grid, kernel=k) for k in self.block.kernels}
        return interleaved(calls)

    def predict(self) -> Times:
        """Milliseconds of each kernel by the rates of the package."""
        sizes, threads = (self.grid, self.grid), torch.get_num_threads()
        return predict(self.block, sizes, (self.space,), self.batch, threads=threads)

    def work(self) -> dict[str, Work]:
        """What each kernel does, for one sample."""
        sizes = (self.grid, self.grid)
        return {k: self.block.work(k, sizes, self.space) for k in self.block.kernels}

    def __str__(self) -> str:
        grid, modes = ("x".join(map(str, n)) for n in (self.grid, self.modes))
        return f"{grid:>12} {modes:>11} {self.space.channels:>3} {self.batch:>3}"


def verdict(case: Case, met: Times) -> bool:
    told = case.predict()
    chosen = min(told, key=lambda k: told[k])
    good = met[chosen] <= SLACK * min(met.values())
    shown = ("  ".join(f"{k} {t[k]:6.2f}" for k in case.block.kernels) for t in (told, met))
    print(f"{case}  {'   '.join(shown)}   {chosen} {'right' if good else 'WRONG'}")
    return good


def fit(cases: list[Case], met: list[Times]) -> tuple[float, ...]:
    """The rates of one core whose predictions differ least from the logarithms of the times."""
    rows, seconds = [], []
    for case, times in zip(cases, met, strict=True):
        for kernel, work in case.work().items():
            rows.append([case.batch * x for x in (work.gemm, work.fft, work.moved)])
            seconds.append(times[kernel] / 1e3)
    a, t = np.array(rows) / torch.get_num_threads(), np.array(seconds)
    start = -np.log([1e11, 1e10, 1e10])
    found = least_squares(lambda p: np.log(a @ np.exp(p)) - np.log(t), start, loss="soft_l1")
    return tuple(1 / np.exp(found.x))


def gemm_rate() -> float:
    """Batched products of a short wide matrix, as in a truncated transform, and a 1 x 1 layer."""
    a, b = torch.randn(64, 34, 128), torch.randn(64, 128, 64)
    w, v = torch.randn(64, 64), torch.randn(65536, 64)
    flops = 2 * (64 * 34 * 128 * 64 + 65536 * 64 * 64)
    return flops / seconds(lambda: (torch.bmm(a, b), v @ w))


def fft_rate() -> float:
    """Real transforms along the last axis but one, counted 2.5 n log2 n."""
    n, x = 128, torch.randn(8, 128, 128, 32)
    flops = 2.5 * x.numel() * math.log2(n)
    return flops / seconds(lambda: torch.fft.rfft(x, dim=2))


def moved_rate() -> float:
    """A copy into fresh memory, read and written."""
    x = torch.randn(8, 128, 128, 32)
    return 2 * 4 * x.numel() / seconds(x.clone)


def seconds(call: Callable[[], object]) -> float:
    return interleaved({"": call})[""] / 1e3


def interleaved(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The least milliseconds of each call, taken in turn so that a busy machine hits all alike."""
    best = dict.fromkeys(calls, math.inf)
    with torch.no_grad():
        for _ in range(REPEATS + 1):
            for name, call in calls.items():
                start = time.process_time()
                call()
                best[name] = min(best[name], 1e3 * (time.process_time() - start))
    return best


if __name__ == "__main__":
    main()
