"""Time, memory, flops and errors of competitors: seconds, bytes, operations, relative errors.

Competitors take turns, so that a busy machine hits all alike, and a ratio is the median over the
turns. With one thread the clock is that of the process (user and system), which does not run while
others have the core; with several it is the clock on the wall.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from opdsl.nn.kernels import pairs

Call = Callable[[], object]
LEAST = 3  # turns, however long they take


def reuse_memory() -> None:
    """Tell the allocator of the C library to keep what is freed: for the whole process.

    By default each large tensor is mapped anew, and its pages are faults.
    """
    mmap_max, trim_threshold, top_pad = -4, -1, -2
    libc = ctypes.CDLL("libc.so.6")
    for key, value in ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 256 << 20)):
        if not libc.mallopt(key, value):
            raise OSError("mallopt refuses")


def in_turn(calls: Mapping[str, Call], seconds: float, most: int = 25) -> dict[str, list[float]]:
    """Seconds of each call, for about so long in all; every call is made once before."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    took: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    end = time.perf_counter() + seconds
    turns = 0
    while turns < LEAST or (turns < most and time.perf_counter() < end):
        for name, call in calls.items():
            start = clock()
            call()
            took[name].append(clock() - start)
        turns += 1
    return took


def summed_up(took: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    """Of each competitor milliseconds, and how many times faster than the first it is."""
    first = next(iter(took.values()))
    return {
        name: {
            "ms": 1e3 * statistics.median(own),
            "ratio": statistics.median(a / b for a, b in zip(first, own, strict=True)),
        }
        for name, own in took.items()
    }


def peak(call: Call) -> int:
    """Bytes of torch's allocator at their highest during a call, above those at its beginning.

    What lives before, weights, inputs and the optimizer's state, is not counted. The call is made
    once before.
    """
    call()
    return allocated(call)


def allocated(call: Call) -> int:
    """Bytes of torch's allocator at their highest during a call, above those at its beginning."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        kept = torch.empty(1)
        call()
    del kept
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        seen.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    met = [(x["ts"], x["args"]) for x in events if x.get("name") == "[memory]"]
    met.sort(key=lambda x: x[0])
    begin = met[0][1]["Total Allocated"] - met[0][1]["Bytes"]
    return max(x["Total Allocated"] for _, x in met) - begin


def silence() -> None:
    """Let nothing reach stderr from here on: the profiler tells of itself there."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def resident(call: Call) -> int:
    """Bytes of the process at their highest during a call, above those before: all allocators."""
    call()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten
    before = _status("VmRSS")
    call()
    return max(0, _status("VmHWM") - before)


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(x.split()[1]) for x in lines if x.startswith(key))


def relative(a: Tensor, b: Tensor) -> float:
    """||a - b|| / ||b||, in float64."""
    return float((a.double() - b.double()).norm() / b.double().norm())


class Products(TorchDispatchMode):
    """Counts the floating point operations of matrix products; a complex one is eight."""

    NAMES = frozenset({"mm", "addmm", "bmm", "baddbmm"})

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in self.NAMES:
            left, right = [x for x in tree_leaves(args) if isinstance(x, Tensor)][-2:]
            self.flops += (8 if left.is_complex() else 2) * left.numel() * right.shape[-1]
        return found


def operations(module: nn.Module, call: Call) -> int:
    """Of the matrix products of a call of a module of ours, where nothing is fused."""
    graphs = [x for x in module.modules() if hasattr(x, "fuse")]
    for x in graphs:
        x.fuse = False
    with Products() as counted, mock.patch.object(pairs, "library", return_value=None):
        call()
    for x in graphs:
        x.fuse = None
    return counted.flops


class Product:
    """A matrix product of a layer's shape, (rows, width) times (width, width), and its count.

    The result goes into memory that is there.
    """

    ENOUGH = 2**31  # operations in a call, so that the clock sees it

    def __init__(self, rows: int, width: int) -> None:
        self.a, self.b = torch.randn(min(rows, 2**18), width), torch.randn(width, width)
        self.out = torch.empty_like(self.a)
        once = 2 * self.a.numel() * width
        self.times = max(1, self.ENOUGH // once)
        self.flops = self.times * once

    def call(self) -> None:
        """Compute it as often as it takes."""
        for _ in range(self.times):
            torch.mm(self.a, self.b, out=self.out)


def doubled(module: nn.Module) -> nn.Module:
    """The module in float64, its complex numbers too."""

    def wide(t: Tensor) -> Tensor:
        if t.is_complex():
            return t.to(torch.complex128)
        return t.double() if t.is_floating_point() else t

    return module._apply(wide)  # noqa: SLF001  `.double()` leaves complex numbers


def shaken(module: nn.Module) -> nn.Module:
    """The module with all weights changed by about a rounding to float32."""
    for p in module.parameters():
        real = torch.view_as_real(p.data) if p.is_complex() else p.data
        real.mul_(1 + torch.finfo(torch.float32).eps / 2 * torch.randn_like(real))
    return module
