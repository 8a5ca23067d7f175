"""The plan of several processes as text and as JSON: layouts, exchanges with bytes, peak memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from opdsl.ir.sharding.exchanges import Exchange, reduced
from opdsl.ir.sharding.memory import RankMemory, rank_memory
from opdsl.ir.sharding.plan import ShardedNode, ShardingPlan
from opdsl.summary.table import memory

GAP = "  "
HEAD = ("node", "type", "computed", "exchange", "forward", "backward", "what")


@dataclass(frozen=True, slots=True)
class SpacePlan:
    """What `opdsl summary --plan --nproc` shows.

    Attributes:
        processes: all processes.
        plan: of those that share a sample.
        memory: of one process in a training step.
        gradients: bytes that each process sends to add up the gradients of the weights.
    """

    processes: int
    plan: ShardingPlan
    memory: RankMemory
    gradients: int

    @classmethod
    def of(
        cls,
        plan: ShardingPlan,
        processes: int,
        fused: Iterable[tuple[str, ...]] = (),
        moments: int = 2,
    ) -> SpacePlan:
        """Predict memory and gradients of a plan.

        Args:
            plan: of the processes that share a sample, with the batch of one of their groups.
            processes: all processes.
            fused: groups of nodes that run as one operation, as in `rank_memory`.
            moments: numbers in the state of the optimizer for each weight.
        """
        step = rank_memory(plan, moments, fused)
        return cls(processes, plan, step, reduced(step.weights, processes)[0])

    def to_text(self) -> str:
        """Write the plan as tables."""
        plan = self.plan
        rows = [HEAD, *_rows(plan)]
        forward, step = (max(plan.sent(backward=x)) for x in (False, True))
        facts = [
            ("a call sends", f"{memory(forward)} from each process"),
            (
                "a step sends",
                f"{memory(step)}, and {memory(self.gradients)} for the gradients of the weights",
            ),
            ("peak memory", f"{memory(self.memory.total)} of a process: {self._parts_text()}"),
            ("reached at", self.memory.moment),
        ]
        width = max(len(name) for name, _ in facts)
        lines = [self._head(), *_table(rows), ""]
        return "\n".join([*lines, *(f"  {name:<{width}}  {text}" for name, text in facts)])

    def _head(self) -> str:
        plan = self.plan
        groups = self.processes // plan.ranks
        samples = f"{plan.batch} sample{'s' * (plan.batch > 1)}"
        sizes = ", ".join(f"{k} at {'×'.join(map(str, n))}" for k, n in plan.sizes.items())
        shared = f"{plan.ranks} share each sample{_points(plan)}"
        if plan.ranks == 1:
            shared = "each has samples of its own"
        of_group = f"{groups} groups with {samples} each" if groups > 1 else samples
        return f"processes  {self.processes}: {shared}; {sizes}; {of_group}, {plan.dtype}"

    def _parts_text(self) -> str:
        names = ("weights", "gradients", "moments", "functions", "intermediates", "whole")
        sizes = ((x, getattr(self.memory, x)) for x in names)
        words = {"whole": "whole inputs and outputs"}
        return ", ".join(f"{words.get(x, x)} {memory(n)}" for x, n in sizes if n)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain data; bytes are one number for each process."""
        plan = self.plan
        return {
            "processes": self.processes,
            "space": plan.ranks,
            "axis": plan.axis.name,
            "at": {k: list(n) for k, n in plan.sizes.items()},
            "batch": plan.batch,
            "dtype": plan.dtype,
            "nodes": [_node_json(plan, x) for x in plan.nodes.values()],
            "inputs": {x.name: plan.type_of(x.name) for x in plan.graph.inputs},
            "outputs": {
                name: None if exchange is None else _exchange_json(exchange)
                for name, (_, exchange) in plan.outputs.items()
            },
            "sent": list(plan.sent(backward=False)),
            "sent_in_step": list(plan.sent()),
            "gradients": self.gradients,
            "memory": {"total": self.memory.total} | asdict(self.memory),
        }


def _points(plan: ShardingPlan) -> str:
    """Write how many points of the first sharded input each has: `, 32 or 33 points along x`."""
    first = next((x for x in plan.graph.inputs if plan.inputs[x.name].sharded), None)
    if first is None:
        return ""
    counts = sorted({len(x) for x in plan.parts(first.name)})
    return f", {' or '.join(map(str, counts))} points along `{plan.axis}`"


def _rows(plan: ShardingPlan) -> Iterator[tuple[str, ...]]:
    for port in plan.graph.inputs:
        yield (port.name, plan.type_of(port.name), "cut", "", "", "", "")
    for x in plan.nodes.values():
        yield from _with_exchanges(x.path, plan.type_of(x.path), _computed(x), x.exchanges)
    for port in plan.graph.outputs:
        _, exchange = plan.outputs[port.name]
        yield from _with_exchanges(
            port.name, str(port.space), "output", [exchange] if exchange else []
        )


def _with_exchanges(
    path: str, type_text: str, computed: str, exchanges: Sequence[Exchange]
) -> Iterator[tuple[str, ...]]:
    cells = [(x.kind, *map(_sent, (x.sent, x.sent_backward)), x.text) for x in exchanges]
    for i, cell in enumerate(cells or [("", "", "", "")]):
        yield (*((path, type_text, computed) if i == 0 else ("", "", "")), *cell)


def _sent(sent: tuple[int, ...]) -> str:
    return memory(max(sent)) if any(sent) else "-"


def _computed(node: ShardedNode) -> str:
    rule = node.rule
    return f"{rule.kind}, {rule.strategy.replace('_', ' ')}" if rule.strategy else rule.kind


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Align columns; numbers, the fifth and the sixth, to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, range(len(row)), strict=True)
        texts = (f"{x:>{n}}" if i in {4, 5} else f"{x:<{n}}" for x, n, i in cells)
        yield f"  {GAP.join(texts)}".rstrip()


def _node_json(plan: ShardingPlan, node: ShardedNode) -> dict[str, Any]:
    return {
        "path": node.path,
        "type": plan.type_of(node.path),
        "rule": node.rule.kind,
        "strategy": node.rule.strategy,
        "exchanges": [_exchange_json(x) for x in node.exchanges],
    }


def _exchange_json(exchange: Exchange) -> dict[str, Any]:
    return {
        "kind": exchange.kind,
        "sent": list(exchange.sent),
        "sent_backward": list(exchange.sent_backward),
        "what": exchange.text,
    }
