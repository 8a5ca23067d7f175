"""Which kernel computes each node, from the blocks' own counts of work and measured rates.

What comes in: a graph, the resolution of the declared domains, the batch, the device. What goes
out: for each node with kernels the one that is predicted to be fastest, all predictions, and the
reason in words. All kernels of a node compute the same function, so a plan changes time and
rounding only. Torch never enters: `opdsl summary --plan` prints this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from opdsl.ir.block import Work
from opdsl.ir.graph import Graph, Node

WIDTH = {"float64": 2.0, "float32": 1.0, "bfloat16": 1.0, "float16": 1.0}  # of one number computed


@dataclass(frozen=True, slots=True)
class Rates:
    """What one core of a CPU, or a whole accelerator, does in a second, in float32.

    Attributes:
        gemm: floating point operations of matrix products of the shapes of an operator's layers.
        fft: of fast Fourier transforms of one axis, counted 5 n log2 n.
        moved: bytes read and written, results in fresh memory.
        source: where the numbers come from.
    """

    gemm: float
    fft: float
    moved: float
    source: str


# The ratios decide; the milliseconds of another machine differ by a common factor.
RATES = {
    "cpu": Rates(1.0e11, 4.0e9, 5.0e9, "measured, benchmarks/kernel_rates.py"),
    "cuda": Rates(3.0e13, 2.0e12, 2.0e12, "assumed, no accelerator was measured"),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """The kernel of one node.

    Attributes:
        milliseconds: predicted for one forward pass, by kernel, in the block's order.
        reason: why, in words.
    """

    path: str
    kernel: str
    milliseconds: Mapping[str, float]
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The kernels of a graph at one resolution.

    Attributes:
        choices: by path, for the nodes that have kernels.
        roots: points on each axis of each declared domain.
        device: kind of device, a key of `RATES`; another kind is planned as a CPU.
    """

    choices: Mapping[str, Choice]
    roots: Mapping[str, tuple[int, ...]]
    batch: int
    device: str
    threads: int
    dtype: str

    def kernel(self, path: str) -> str:
        """The kernel of a node."""
        return self.choices[path].kernel


def plan(
    graph: Graph,
    roots: Mapping[str, tuple[int, ...]],
    batch: int = 1,
    device: str = "cpu",
    threads: int = 1,
    dtype: str = "float32",
) -> Plan:
    """The fastest kernel of each node.

    Args:
        roots: points on each axis of each declared domain.
        batch: samples in one call.
        device: kind of device: `cpu`, `cuda`.
        threads: cores of a CPU that work together.
        dtype: name of the numbers' format: `float32`.
    """
    speed = _Speed(device, threads, WIDTH.get(dtype, 1.0))
    choices = {
        node.path: _choose(node, _predict(graph, node, roots, batch, speed), device)
        for node in graph.nodes
        if node.block.kernels
    }
    return Plan(choices, dict(roots), batch, device, threads, dtype)


@dataclass(frozen=True, slots=True)
class _Speed:
    """Rates of a device with so many cores, for numbers so many times as wide as float32."""

    device: str
    threads: int
    width: float

    def milliseconds(self, work: Work, batch: int) -> float:
        rates = RATES.get(self.device, RATES["cpu"])
        seconds = work.gemm / rates.gemm + work.fft / rates.fft + work.moved / rates.moved
        cores = self.threads if self.device not in RATES or self.device == "cpu" else 1
        return 1e3 * batch * seconds * self.width / max(1, cores)


def _predict(
    graph: Graph, node: Node, roots: Mapping[str, tuple[int, ...]], batch: int, speed: _Speed
) -> dict[str, float]:
    """Milliseconds of each kernel of a node."""
    inputs = graph.arguments(node)
    sizes = tuple(x.domain.points(roots[x.domain.name]) for x in (*inputs, node.space))
    return {
        kernel: speed.milliseconds(node.block.work(kernel, sizes, *inputs), batch)
        for kernel in node.block.kernels
    }


def _choose(node: Node, predicted: Mapping[str, float], device: str) -> Choice:
    # of equal ones the block's default, which stands first
    kernel = min(predicted, key=lambda x: predicted[x])
    return Choice(node.path, kernel, predicted, _reason(kernel, predicted, device))


def _reason(kernel: str, predicted: Mapping[str, float], device: str) -> str:
    others = [f"{_time(t)} for {name}" for name, t in predicted.items() if name != kernel]
    if not others:
        return f"{kernel}: the only kernel"
    assumed = "" if device == "cpu" else " (assumed rates)"
    return f"{kernel}: {_time(predicted[kernel])} against {', '.join(others)}{assumed}"


def _time(milliseconds: float) -> str:
    return f"{milliseconds:.3g} ms"
