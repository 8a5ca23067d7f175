"""The kernel of each node, from the blocks' counts of work and measured rates or times.

All kernels of a node compute one function, so a plan changes time and rounding only. Torch is never
imported here: `opdsl summary --plan` prints plans.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from opdsl.ir.block import Block, Bound, Work
from opdsl.ir.dims import decided
from opdsl.ir.graph import Graph, Node
from opdsl.ir.live import live
from opdsl.ir.spaces import Space
from opdsl.lower.fuse import fusions
from opdsl.lower.fuse.fusion import Fusion
from opdsl.lower.plan.costs import Load, fused_load, plain_load
from opdsl.lower.plan.tuning_case import FUSED, PLAIN, Timer, Times, Workload, fused_case, node_case
from opdsl.precisions import relative_size

FOR_FUSED = ("cpu", "float32")  # device and dtype that the fused kernels support
# numbers of a function below which fusing saves less than it takes to set up
MIN_FUSED_SIZE = 1 << 17
FUSED_BONUS = 1.05  # a fused subgraph keeps less for the gradient, which is worth so much

MEASURED = ", measured with the gradient"


@dataclass(frozen=True, slots=True)
class Rates:
    """Work per second of one core of a CPU, or of a whole accelerator, in float32.

    Attributes:
        gemm: floating point operations of matrix products of the shapes of an operator's layers.
        fft: of fast Fourier transforms of one axis, counted 2.5 n log2 n for real numbers.
        moved: bytes read and written, results in fresh memory.
        source: where the numbers come from.
        measured: whether they were measured at all.
        cores: whether they are those of one core out of several.
    """

    gemm: float
    fft: float
    moved: float
    source: str
    measured: bool = False
    cores: bool = False

    def seconds(self, work: Work) -> float:
        """Predict the seconds that some work takes."""
        return work.gemm / self.gemm + work.fft / self.fft + work.moved / self.moved


# The ratios decide; the milliseconds of another machine differ by a common factor.
RATES = {
    "cpu": Rates(
        1.0e11, 8.5e9, 9.5e9, "fitted by benchmarks/kernel_rates.py", measured=True, cores=True
    ),
    "cuda": Rates(3.0e13, 2.0e12, 2.0e12, "assumed, no accelerator was measured"),
}
# of fused nodes: values between them stay in the cache, and only those at the ends are moved
FUSED_RATES = Rates(
    1.0e11, 8.5e9, 5.8e9, "fitted by benchmarks/plan_rates.py", measured=True, cores=True
)


@dataclass(frozen=True, slots=True)
class Choice:
    """The kernel of one node.

    Attributes:
        milliseconds: predicted for one forward pass, by kernel, in the block's order.
        reason: why, in words.
        measured: milliseconds of a forward pass and its gradient, by kernel; empty: not measured.
    """

    path: str
    kernel: str
    milliseconds: Mapping[str, float]
    reason: str
    measured: Times = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Forecast:
    """The predicted cost of a unit: milliseconds of a forward pass, bytes for the gradient."""

    milliseconds: float
    saved_bytes: float


@dataclass(frozen=True, slots=True)
class KernelPlan:
    """The kernels of a graph at one resolution.

    Attributes:
        choices: by path, for the nodes that have kernels.
        roots: points on each axis of each declared domain.
        device: kind of device, a key of `RATES`; another kind is planned as a CPU.
        fused: subgraphs that run as one operation, by their last nodes, with the reason.
    """

    choices: Mapping[str, Choice]
    roots: Mapping[str, tuple[int, ...]]
    batch: int
    device: str
    threads: int
    dtype: str
    fused: Mapping[str, str] = field(default_factory=dict)

    def kernel(self, path: str) -> str:
        """Return the name of the kernel of a node."""
        return self.choices[path].kernel


def plan_kernels(
    graph: Graph,
    roots: Mapping[str, tuple[int, ...]],
    batch: int = 1,
    device: str = "cpu",
    threads: int = 1,
    dtype: str = "float32",
    timer: Timer | None = None,
) -> KernelPlan:
    """Choose the fastest kernel of each node.

    Args:
        graph: the model.
        roots: points on each axis of each declared domain.
        batch: samples in one call.
        device: kind of device: `cpu`, `cuda`.
        threads: cores of a CPU that work together.
        dtype: name of the number format: `float32`.
        timer: gives measured times, which have precedence over predictions.
    """
    setting = Workload(dict(roots), batch, device, threads, dtype)
    timer = timer or _untimed
    choices = {
        node.path: _choice(graph, node, setting, timer)
        for node in live(graph)
        if node.block.kernels
    }
    joined = _fused(graph, choices, setting, timer) if (device, dtype) == FOR_FUSED else {}
    return KernelPlan(choices, setting.roots, batch, device, threads, dtype, joined)


def _untimed(_: object) -> None:
    """Return no times: the timer of a plan by predictions alone."""


def _choice(graph: Graph, node: Node, setting: Workload, timer: Timer) -> Choice:
    inputs = graph.arguments(node)
    sizes = tuple(x.domain.at(setting.roots) for x in (*inputs, node.space))
    predicted = predict(
        node.block, sizes, inputs, setting.batch, setting.device, setting.threads, setting.dtype
    )
    case = node_case(graph, node, setting)
    measured = timer(case) if case else None
    if measured:
        return _choose_measured(node, predicted, measured)
    return _choose_predicted(
        node, predicted, _kept_modes(graph, node, setting.roots), setting.device
    )


def _fused(
    graph: Graph, choices: Mapping[str, Choice], setting: Workload, timer: Timer
) -> dict[str, str]:
    """Choose the fusions that pay: as measured, else large ones that use matrix products anyway."""
    result: dict[str, str] = {}
    kernels = {path: x.kernel for path, x in choices.items()}
    for fusion in fusions(graph):
        measured = timer(fused_case(graph, fusion, setting, kernels))
        if measured:
            better = measured[FUSED] <= FUSED_BONUS * measured[PLAIN]
        else:
            better = _worth_it(graph, fusion, kernels, setting)
        if better:
            result[fusion.end] = _fusion_reason(graph, fusion, setting, kernels, measured)
    return result


def _worth_it(graph: Graph, fusion: Fusion, kernels: Mapping[str, str], setting: Workload) -> bool:
    numbers = setting.batch * max(_value_count(graph, x, setting.roots) for x in fusion.nodes)
    return numbers >= MIN_FUSED_SIZE and {kernels[x] for x in fusion.nodes if x in kernels} <= {
        "dft"
    }


def _fusion_reason(
    graph: Graph,
    fusion: Fusion,
    setting: Workload,
    kernels: Mapping[str, str],
    measured: Times | None,
) -> str:
    predicted = forecasts(graph, fusion, setting, kernels)
    times = measured or {k: x.milliseconds for k, x in predicted.items()}
    saved = [_size_text(predicted[x].saved_bytes) for x in (FUSED, PLAIN)]
    time = [_time_text(times[x]) for x in (FUSED, PLAIN)]
    return (
        f"{len(fusion.nodes)} nodes as one, from `{fusion.source}` on; "
        f"keeps {saved[0]} against {saved[1]}; "
        f"{time[0]} against {time[1]} plainly{MEASURED if measured else ''}"
    )


def forecasts(
    graph: Graph, fusion: Fusion, setting: Workload, kernels: Mapping[str, str]
) -> dict[str, Forecast]:
    """Predict a fusion as one operation, and its nodes one by one."""
    nodes = [graph.by_path[x] for x in fusion.nodes]
    return {
        FUSED: _forecast(fused_load(graph, fusion, setting), FUSED_RATES, setting),
        PLAIN: forecast(graph, nodes, setting, kernels),
    }


def forecast(
    graph: Graph, nodes: Iterable[Node], setting: Workload, kernels: Mapping[str, str]
) -> Forecast:
    """Predict nodes one by one."""
    rates = RATES.get(setting.device, RATES["cpu"])
    return _forecast(plain_load(graph, nodes, kernels, setting), rates, setting)


def _forecast(load: Load, rates: Rates, setting: Workload) -> Forecast:
    width = relative_size(setting.dtype)
    cores = max(1, setting.threads) if rates.cores else 1
    return Forecast(1e3 * width * rates.seconds(load.work) / cores, width * load.saved_bytes)


def _size_text(count: float) -> str:
    return f"{count / 2**20:.3g} MiB"


def _value_count(graph: Graph, path: str, roots: Mapping[str, tuple[int, ...]]) -> int:
    space = graph.spaces[path]
    return decided(space.channels) * math.prod(space.domain.at(roots))


def predict(
    block: Block,
    sizes: tuple[tuple[int, ...], ...],
    inputs: tuple[Space, ...],
    batch: int = 1,
    device: str = "cpu",
    threads: int = 1,
    dtype: str = "float32",
) -> dict[str, float]:
    """Predict milliseconds of one forward pass by each kernel of a block.

    Args:
        block: the block.
        sizes: the grid of each input, and last the grid of the result.
        inputs: the spaces of the inputs.
        batch, device, threads, dtype: as in `plan_kernels`.
    """
    rates = RATES.get(device, RATES["cpu"])
    cores = threads if rates.cores else 1
    factor = 1e3 * batch * relative_size(dtype) / max(1, cores)
    work = {kernel: block.work(kernel, sizes, *inputs) for kernel in block.kernels}
    return {kernel: factor * rates.seconds(x) for kernel, x in work.items()}


def _choose_predicted(node: Node, predicted: Mapping[str, float], kept: str, device: str) -> Choice:
    # `min` returns the first of equal ones, which is the block's default
    kernel = min(predicted, key=lambda x: predicted[x])
    others = [f"{_time_text(t)} for {name}" for name, t in predicted.items() if name != kernel]
    if not others:
        return Choice(node.path, kernel, predicted, f"{kernel}: the only kernel")
    reason = f"{kernel}: {_time_text(predicted[kernel])} against {', '.join(others)}{kept}"
    caveat = "" if RATES.get(device, RATES["cpu"]).measured else " (assumed rates)"
    return Choice(node.path, kernel, predicted, reason + caveat)


def _choose_measured(node: Node, predicted: Mapping[str, float], measured: Times) -> Choice:
    kernel = min(measured, key=lambda x: measured[x])
    others = [f"{_time_text(t)} for {name}" for name, t in measured.items() if name != kernel]
    reason = f"{kernel}: {_time_text(measured[kernel])} against {', '.join(others)}{MEASURED}"
    return Choice(node.path, kernel, predicted, reason, measured)


def _kept_modes(graph: Graph, node: Node, roots: Mapping[str, tuple[int, ...]]) -> str:
    """Describe the kept modes for the reason of a choice: `: |k| <= 8 of 64 points on x`."""
    inputs = graph.arguments(node)
    parts = {
        bound.axis: f"{bound.keeps} of {_points(bound, roots)} points on "
        f"{bound.domain.axes[bound.axis].name}"
        for bound in reversed(node.block.bounds(*inputs))
    }
    return f": {', '.join(parts[axis] for axis in sorted(parts))}" if parts else ""


def _points(bound: Bound, roots: Mapping[str, tuple[int, ...]]) -> int:
    return bound.domain.at(roots)[bound.axis]


def _time_text(milliseconds: float) -> str:
    return f"{milliseconds:.3g} ms"
