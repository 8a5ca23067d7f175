"""The tensors that torch allocates in a training step: `step_memory`."""

import torch
from torch import Tensor, nn

from opdsl.lower.memory.allocations import Allocations
from opdsl.train.losses.l2 import rel_l2


def step_memory(module: nn.Module, inputs: list[Tensor]) -> int:
    """The most bytes of tensors in a step with AdamW and the relative L2 loss.

    Weights, moments, inputs and truth count, which are there before.
    """
    optimizer = torch.optim.AdamW(module.parameters())
    truths = [torch.ones_like(x) for x in _results(module(*inputs))]

    def step() -> None:
        optimizer.zero_grad()
        outputs = _results(module(*inputs))
        sum(rel_l2(x, y).mean() for x, y in zip(outputs, truths, strict=True)).backward()
        optimizer.step()

    step()  # creates the moments and the tables
    optimizer.zero_grad()
    state = [y for x in optimizer.state.values() for y in x.values()]
    there = sum(x.nbytes for x in (*module.parameters(), *state, *inputs, *truths))
    with Allocations() as allocations:
        step()
    return there + allocations.peak


def _results(outputs: Tensor | dict[str, Tensor]) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs.values())
