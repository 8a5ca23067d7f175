"""Every block of the catalogue on parts of a grid: the result and the bytes of its plan."""

from collections import Counter
from typing import Any

import pytest
import torch
import torch.distributed as dist

from opdsl.diagnostics import OpError, Source, Span
from opdsl.ir.graph import Graph, Node, Port
from opdsl.ir.sharding.layout import axes_of
from opdsl.lower.module import OperatorModule, lower
from opdsl.lower.sharded.running import shard
from opdsl.parallel.exchanges import counted
from opdsl.parallel.mesh import ProcessMesh
from tests.conformance.test_blocks import CASES, Case
from tests.worlds import run_world

SPAN = Span(Source("blocks.op", "line"), 0, 4)
TOLERANCE = 1e-10


def graph_of(case: Case) -> Graph:
    """A graph of the block alone; one without inputs is added to a function on its domain."""
    ports = [Port(name=f"x{i}", space=x) for i, x in enumerate(case.spaces)]
    if not ports:
        ports.append(Port(name="x0", space=case.result.with_channels(1)))
    node = Node(
        path="w",
        block=case.block,
        inputs=tuple(x.name for x in ports[: len(case.spaces)]),
        space=case.result,
        spans=(SPAN,),
    )
    spaces = (*(x.space for x in ports), node.space)
    domains = {d.name: d for x in spaces for d in x.domain.declared}
    return Graph(
        name="M",
        edition=2026,
        params={},
        domains=tuple(domains.values()),
        inputs=tuple(ports),
        outputs=(Port(name="y", space=case.result, source="w"),),
        nodes=(node,),
    )


def axes(case: Case) -> list[str]:
    """The axes along which the case may be sharded."""
    domains = (x.domain for x in (*case.spaces, case.result))
    return list(dict.fromkeys(a for d in domains for a in axes_of(d) if a))


def call(module: OperatorModule, case: Case) -> dict[str, torch.Tensor]:
    """The result, and the gradients of inputs and weights of a loss that weighs all numbers."""
    inputs = {
        f"x{i}": x.detach().movedim(-1, 1).contiguous().requires_grad_()
        for i, x in enumerate(case.inputs(torch.float64))
    }
    if not inputs:
        port = module.graph.inputs[0]
        inputs = {"x0": torch.zeros(2, 1, *case.points(port.space), dtype=torch.float64)}
    asked = {a.name: x for a, x in zip(case.asks, named_sides(case), strict=True)}
    module.zero_grad()
    torch.manual_seed(4)  # of dropout
    y = module(**inputs, **asked)
    weights = torch.arange(y.numel(), dtype=torch.float64).cos().reshape(y.shape)
    if y.requires_grad:
        (y * weights).abs().square().sum().backward()
    result = {"y": y.detach()} | {f"d{k}": x.grad for k, x in inputs.items()}
    return result | {k: p.grad for k, p in module.named_parameters()}


def named_sides(case: Case) -> list[Any]:
    result = []
    for ask, x in zip(case.asks, case.asked(torch.float64), strict=True):
        result.append(x[0, ..., 0] if ask.what == "field" else x[0])
    return result


def compare(case: Case, axis: str, mesh: ProcessMesh) -> tuple[str, Any]:
    """The greatest error relative to one process, `refused`, or a difference of bytes."""
    module = lower(graph_of(case)).double()
    torch.manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.1 * torch.randn_like(p))
    expected = call(module, case)
    shard(module, mesh, axis)
    assert module.sharding is not None
    with counted() as traffic:
        try:
            got = call(module, case)
        except OpError as error:
            return error.diagnostics[0].code, None
    worst = 0.0
    for key, want in expected.items():
        have = got[key]
        if want is None:
            continue
        if key in dict(module.named_parameters()):
            have = torch.zeros_like(want) if have is None else have
            dist.all_reduce(have, group=mesh.space_group)
        worst = max(worst, ((have - want).abs().max() / (1 + want.abs().max())).item())
    plan = next(iter(module.sharding.plans.values()))
    planned = Counter[str]()
    for x in plan.exchanges:
        planned[x.kind] += x.sent[mesh.space_index]
    sent = Counter[str]()
    for (kind, direction), size in traffic.items():
        sent[kind] += size if direction == "forward" and kind != "inputs" else 0
    rule = plan.nodes["w"].rule
    return f"{rule.kind} {rule.strategy or ''}", (worst, +planned, +sent)


def run_all(count: int, dims: int) -> dict[tuple[str, str], tuple[str, Any]]:
    mesh = ProcessMesh.of_world(count)
    cases = (x for x in CASES if len(x.sizes) == dims)
    return {(str(x), axis): compare(x, axis, mesh) for x in cases for axis in axes(x)}


# blocks that look at points anywhere, and those that reproduce faults; see OP0820
REFUSED = {
    "axis_conv",
    "disco_conv",
    "gno",
    "interpolate",
    "pull",
    "spectral_conv",
    "spherical_conv",
}
# outputs with a batch of one; and maxima, which are gathered, not summed
UNPLANNED = {"coords", "constant", "series", "static", "pool"}


def nearly(planned: Counter[str], sent: Counter[str]) -> bool:
    """Whether bytes are equal, but for those that each of two sums rounds off."""
    return planned.keys() == sent.keys() and all(abs(n - sent[k]) < 2 for k, n in planned.items())


@pytest.mark.parametrize(("count", "dims"), [(2, 2), (3, 1)])
def test_blocks_on_parts_equal_whole_blocks_and_send_what_is_planned(count: int, dims: int) -> None:
    for of_rank in run_world(count, run_all, count, dims):
        assert len(of_rank) > 100
        for (case, axis), (kind, numbers) in of_rank.items():
            keyword = case.partition("-")[0]
            if numbers is None:
                assert (keyword in REFUSED, kind) == (True, "OP0820"), f"{case} along {axis}"
                continue
            worst, planned, sent = numbers
            assert worst < TOLERANCE, f"{case} along {axis}, {kind}"
            assert keyword in UNPLANNED or nearly(planned, sent), f"{case} along {axis}, {kind}"
