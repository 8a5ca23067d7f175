"""Every block on points of which each sample has its own number: packed, and sample by sample."""

from typing import Any

import pytest
import torch

from opdsl import Geometry, blocks
from opdsl.ir.axes import Axis
from opdsl.ir.block import Block, Refusal
from opdsl.ir.spaces import VECTOR, Domain, Space
from opdsl.lower.per_sample import run_per_sample

SIZES = (5, 4, 8)
ONE = Axis(name="points")
P = Domain(kind="points", name="P", ambient=2, geometry="per_sample", axes=(ONE,))
Q = Domain(kind="points", name="Q", ambient=2, geometry="per_sample", axes=(ONE,))
G = Domain(name="G", axes=(Axis(name="x", size=3), Axis(name="y", size=3)))
PACKED = {"P": SIZES, "Q": (4, 6, 5)}


def space(said: object) -> Space:
    """An input of a sample, with points for its grid and sphere."""
    text = f"P -> R^{said}" if isinstance(said, int) else str(said)
    domain, _, values = text.rpartition(" -> ")
    channels = int(values.split("^")[1])
    where = {"": VECTOR, "Q": Q, "G": G}.get(domain, P)
    return Space(domain=where, channels=channels, field="C" if values[0] == "C" else "R")


def made(keyword: str, index: int) -> tuple[Block, tuple[Space, ...]] | None:
    """The block of a sample and its spaces, if it can live on points."""
    said: dict[str, Any] = dict(blocks.find(keyword).samples[index])
    names = {"D": P, "P": P, "Q": Q, "D/2": P, "S": P}
    spaces = tuple(space(x) for x in said.pop("inputs", (2,)))
    params = {k: names[v] if k in {"to", "domain"} and v in names else v for k, v in said.items()}
    if any(x.domain.kind not in (blocks.find(keyword).kinds or {x.domain.kind}) for x in spaces):
        return None
    try:
        block = blocks.find(keyword)(**params)
        scattered = any(x.domain.scattered for x in (*spaces, block.infer(*spaces)))
    except (Refusal, ValueError, AttributeError):
        return None
    return (block, spaces) if scattered and block.fixed_resolution(*spaces) is None else None


CASES = {
    f"{k}-{i}": found
    for k in blocks.names()
    for i in range(len(blocks.find(k).samples))
    # what runs for each sample on its own is what it is compared with
    if blocks.find(k).ragged != "each" and (found := made(k, i))
}


def values(x: Space, seed: int) -> torch.Tensor:
    """(1, total, c) where packed, else (samples, *grid, c)."""
    sizes = PACKED.get(x.domain.name)
    shape = (1, sum(sizes)) if sizes else (len(SIZES), *(a.size or 1 for a in x.domain.axes))
    dtype = torch.complex128 if x.complex else torch.float64
    g = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, x.channels, dtype=dtype, generator=g).requires_grad_()


def keywords(block: Block, spaces: tuple[Space, ...]) -> dict[str, Any]:
    """What the module is given beside functions, for the whole pack."""
    out = block.infer(*spaces).domain
    found: dict[str, Any] = {}
    if block.sized:
        sizes = PACKED.get(out.name)
        found["size"] = (sum(sizes),) if sizes else tuple(a.size or 1 for a in out.axes)
    if block.kernels:
        found["kernel"] = block.kernels[0]
    if block.side_inputs(*spaces):
        found["asked"] = tuple(places(x.domain.name) for x in block.side_inputs(*spaces))
    if not spaces:
        found["like"] = torch.empty(0, dtype=torch.float64)
    return found


def places(name: str) -> tuple[Geometry, ...]:
    g = torch.Generator().manual_seed(len(name))
    return tuple(
        Geometry(
            torch.rand(n, 2, dtype=torch.float64, generator=g),
            weights=torch.rand(n, dtype=torch.float64, generator=g) + 0.1,
            edges=torch.tensor([(i, (i + d) % n) for i in range(n) for d in (0, 1)]),
        )
        for n in PACKED[name]
    )


def gradients(y: torch.Tensor, xs: list[torch.Tensor], module: torch.nn.Module) -> list[Any]:
    of = [*xs, *module.parameters()]
    target = torch.view_as_real(y) if y.is_complex() else y
    return list(torch.autograd.grad((target**3).sum(), of, allow_unused=True))


def test_the_list_of_blocks_on_points_is_not_empty():
    assert len(CASES) > 30
    assert {"linear-0", "attention-0", "norm-0", "gno-0", "coords-0"} <= set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_packed_batch_is_each_sample_alone(name):
    block, spaces = CASES[name]
    domains = [x.domain.name for x in (*spaces, block.infer(*spaces))]
    ragged = tuple(PACKED.get(x) for x in domains)
    torch.manual_seed(0)
    module = block.lower(*spaces).double().eval()
    for p in module.parameters():
        p.data.add_(0.1 * torch.randn_like(p))
    xs = [values(x, i) for i, x in enumerate(spaces)]
    more = keywords(block, spaces)
    alone = run_per_sample(module, xs, ragged, more)
    own = {"ragged": ragged} if block.ragged == "own" else {}
    torch.manual_seed(0)
    packed = module(*xs, **more, **own)
    torch.testing.assert_close(packed, alone)
    if packed.requires_grad:
        found, expected = gradients(packed, xs, module), gradients(alone, xs, module)
        torch.testing.assert_close(found, expected)
