"""Whether an imported model is the one of neuraloperator that it comes from."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.func import functional_call

from opdsl.migrate.neuralop.calls import call_of_module
from opdsl.migrate.neuralop.importing import (
    Imported,
    import_call,
    module_of,
    plain_weights,
    taken_weights,
)
from opdsl.summary import summarise

TOLERANCE = 1e-5  # relative, float32


@dataclass(frozen=True)
class Variant:
    """A constructor call, and the grids on which both are compared, the first as in training."""

    name: str
    kind: str
    named: dict[str, Any]
    sizes: tuple[tuple[int, ...], ...]
    channels: int = 2
    dtype: torch.dtype = torch.float32


def made(theirs: torch.nn.Module) -> torch.nn.Module:
    """With numbers in what begins as ones and zeros, so that a swap of them is seen."""
    with torch.no_grad():
        for key, x in theirs.named_parameters():
            if "norm" in key or "skip" in key:
                x.add_(0.3 * torch.randn_like(x))
    return theirs.eval()


def imported(theirs: torch.nn.Module, *, corrected: bool = False) -> Imported:
    """The program of a module."""
    return import_call(call_of_module(theirs), plain_weights(theirs), corrected=corrected)


def gaps(
    theirs: torch.nn.Module, found: Imported, inputs: Iterable[torch.Tensor]
) -> dict[str, Any]:
    """The relative differences of outputs, and of gradients by inputs and by their weights."""
    ours = module_of(found, plain_weights(theirs)).eval()
    leaves = dict(theirs.named_parameters())
    everything = plain_weights(theirs) | leaves
    told: dict[str, float] = {"output": 0.0, "input gradient": 0.0, "weight gradient": 0.0}
    for i, given in enumerate(inputs):
        x = given.clone().requires_grad_()
        us = listed(theirs(x))
        vs = listed(functional_call(ours, taken_weights(found, everything), (x,)))
        assert [v.shape for v in vs] == [u.shape for u in us]
        told["output"] = max(told["output"], *map(relative, vs, us))
        # of the outputs that are trained there
        u, v = (
            torch.cat([y.flatten() for y, z in zip(ys, us, strict=True) if z.requires_grad])
            for ys in (us, vs)
        )
        g = torch.randn_like(u)
        used = list(leaves.values())
        a = torch.autograd.grad(u, [x, *used], g, allow_unused=True)
        b = torch.autograd.grad(v, [x, *used], g, allow_unused=True)
        told["input gradient"] = max(told["input gradient"], relative(b[0], a[0]))
        if i == 0:
            told["weight gradient"] = weight_gap(a[1:], b[1:])
    return told


def listed(outputs: Any) -> list[torch.Tensor]:
    """The outputs of a model, in order."""
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    return list(outputs.values() if isinstance(outputs, dict) else outputs)


def weight_gap(theirs: Iterable[Any], ours: Iterable[Any]) -> float:
    """The worst relative difference; what is all rounding, as a constant before a norm, is scaled
    by a part of the largest gradient."""
    pairs = [(a, b) for a, b in zip(theirs, ours, strict=True) if a is not None]
    largest = max(a.norm() for a, _ in pairs)
    gaps = [
        (torch.zeros_like(a) if b is None else b).sub(a).norm() / max(a.norm(), 0.2 * largest)
        for a, b in pairs
    ]
    return float(max(gaps))


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    """||a - b|| / ||b||."""
    return float((a - b).norm() / b.norm())


def parameters(theirs: torch.nn.Module) -> int:
    """Real numbers that are trained there."""
    return sum(map(real_numbers, theirs.parameters()))


def real_numbers(x: torch.Tensor) -> int:
    """A complex number is two."""
    return x.numel() * (2 if x.is_complex() else 1)


def redundant(theirs: torch.nn.Module, found: Imported) -> int:
    """Real numbers of theirs that change nothing: weights of CP terms, ranks above the full one."""
    state = plain_weights(theirs)
    kept = taken_weights(found, state)
    trains = [x for x in found.takes if x.change.startswith("train_")]
    ours = sum(kept[x.ours].numel() for x in trains)
    there = {y for take in trains for y in take.theirs}
    there |= {x.theirs[0] for x in found.takes if x.change == "weighted"}
    return sum(real_numbers(state[x]) for x in there) - ours + local(found, state, kept)


def local(found: Imported, state: dict[str, Any], kept: dict[str, Any]) -> int:
    """Of local kernels: weights of functions that are zero; a stencil has more numbers."""
    takes = [x for x in found.takes if x.change.startswith("functions_") or x.change == "sampled"]
    return sum(state[x.theirs[-1]].numel() - kept[x.ours].numel() for x in takes)


def counted(found: Imported) -> int:
    """Real numbers that our `summary` counts."""
    return summarise(found.graph).params
