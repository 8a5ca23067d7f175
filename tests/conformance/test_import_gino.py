"""Imported GINO, FNOGNO, OTNO, GNO blocks compute what neuraloperator's do, at two sizes of clouds.

It is compared at its newest commit; put a checkout on PYTHONPATH to run this.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.func import functional_call

import opdsl
from opdsl.migrate.neuralop.calls import call_of_module, read_checkpoint
from opdsl.migrate.neuralop.importing import (
    Imported,
    import_call,
    module_of,
    plain_weights,
    taken_weights,
)
from tests import imports

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports warn
    reference = pytest.importorskip(
        "neuralop.models", reason="neuraloperator is not importable here", exc_type=ImportError
    )
    layers = pytest.importorskip(
        "neuralop.layers.gno_block", reason="a part of the same", exc_type=ImportError
    )
    transform = pytest.importorskip(
        "neuralop.layers.integral_transform", reason="the same", exc_type=ImportError
    )
    weighting = pytest.importorskip(
        "neuralop.layers.gno_weighting_functions", reason="the same", exc_type=ImportError
    )
pytestmark = pytest.mark.filterwarnings("ignore")  # what is warned of there is not ours

BATCH = 2
CLEAR = 1e-5  # of the radius
GRADIENTS = 3e-5  # of sums over hundreds of pairs, which are rounded there and here
ROUGH = 3e-4  # where an instance norm of a function that hardly varies makes rounding larger
EXACT = 1e-9  # relative, double precision


@dataclass(frozen=True)
class Size:
    """Points of a cloud, of the latent grid on each axis, and of the result."""

    points: int
    latent: int
    queries: int


SIZES = (Size(40, 6, 30), Size(70, 8, 23))
QUIET = {"gno_use_torch_scatter": False, "gno_use_open3d": False}


@dataclass(frozen=True)
class Variant:
    name: str
    kind: str
    named: dict[str, Any]
    called: bool = True  # with a function on the points


def gino(name: str, *, called: bool = True, **named) -> Variant:
    usual = {
        "in_channels": 3,
        "out_channels": 2,
        "fno_n_modes": (4, 4, 4),
        "fno_hidden_channels": 6,
        "fno_n_layers": 2,
        "in_gno_radius": 0.4,
        "out_gno_radius": 0.35,
        "gno_embed_channels": 3,
        "in_gno_channel_mlp_hidden_layers": [7, 5],
        "out_gno_channel_mlp_hidden_layers": [8],
        "projection_channel_ratio": 2,
    }
    return Variant(name, "GINO", usual | QUIET | named, called)


def plane(name: str, **named) -> Variant:
    return gino(name, gno_coord_dim=2, fno_n_modes=(4, 5), **named)


def fnogno(name: str, **named) -> Variant:
    usual = {
        "in_channels": 2,
        "out_channels": 1,
        "fno_n_modes": (4, 3, 4),
        "fno_hidden_channels": 5,
        "fno_n_layers": 2,
        "fno_lifting_channel_ratio": 2,
        "gno_radius": 0.35,
        "gno_embed_channels": 3,
        "gno_channel_mlp_hidden_layers": [8, 6],
        "gno_batched": True,
    }
    return Variant(name, "FNOGNO", usual | QUIET | named)


def gno(name: str, *, called: bool = True, **named) -> Variant:
    usual = {
        "in_channels": 3,
        "out_channels": 3,
        "coord_dim": 3,
        "radius": 0.4,
        "pos_embedding_channels": 4,
        "channel_mlp_layers": [8, 6],
        "use_torch_scatter_reduce": False,
        "use_open3d_neighbor_search": False,
    }
    return Variant(name, "GNOBlock", usual | named, called)


def otno(name: str, **named) -> Variant:
    usual = {"n_modes": (6, 5), "hidden_channels": 6, "n_layers": 2, "in_channels": 5}
    return Variant(name, "OTNO", usual | named)


def mollified(kind: str, radius: float, scale: float = 1.0) -> Any:
    return weighting.dispatch_weighting_fn(kind, sq_radius=radius**2, scale=scale)


VARIANTS = [
    gino("default"),
    gino("no embedding", in_gno_pos_embed_type=None, out_gno_pos_embed_type=None),
    gino("nerf", in_gno_pos_embed_type="nerf", out_gno_pos_embed_type="nerf"),
    gino("another embedding", gno_embed_channels=5, gno_embed_max_positions=100),
    gino("an embedding at one end", in_gno_pos_embed_type=None),
    gino("called without a function", called=False, in_gno_transform_type="linear_kernelonly"),
    gino("another width of the latent function", called=False, fno_in_channels=5),
    gino("one function for all channels", in_channels=1, fno_in_channels=4),
    gino("nonlinear at its beginning", in_gno_transform_type="nonlinear"),
    gino("a nonlinear kernel alone", in_gno_transform_type="nonlinear_kernelonly"),
    gino("nonlinear at its end", out_gno_transform_type="nonlinear"),
    gino("a nonlinear kernel alone at its end", out_gno_transform_type="nonlinear_kernelonly"),
    gino("a linear kernel that says it is alone", out_gno_transform_type="linear_kernelonly"),
    gino("latent features", latent_feature_channels=2),
    gino("latent features only", called=False, latent_feature_channels=1,
         in_gno_transform_type="linear_kernelonly"),
    gino("half cosines", gno_weighting_function="half_cos"),
    gino("a bump", gno_weighting_function="bump", gno_weight_function_scale=0.5),
    gino("quadratic", gno_weighting_function="quadr"),
    gino("quartic", gno_weighting_function="quartic", gno_weight_function_scale=2),
    gino("octic", gno_weighting_function="octic", out_gno_transform_type="nonlinear"),
    gino("tanh", out_gno_tanh="latent_embed"),
    gino("told a number", fno_norm="ada_in"),
    gino("told two numbers, nerf", fno_norm="ada_in", fno_ada_in_dim=2, fno_ada_in_features=3,
         out_gno_pos_embed_type="nerf"),
    gino("told numbers as they are", fno_norm="ada_in", fno_ada_in_dim=3,
         fno_ada_in_features=None, fno_n_layers=1),
    gino("group norm", fno_norm="group_norm", fno_norm_groups=2),
    gino("preactivation and instance norm", fno_norm="instance_norm", fno_preactivation=True),
    gino("another activation", gno_channel_mlp_non_linearity=torch.tanh,
         fno_non_linearity=torch.nn.functional.silu),
    gino("Tucker", fno_factorization="tucker", fno_rank=0.5),
    gino("no channel mlp, other skips", fno_use_channel_mlp=False, fno_skip="identity"),
    gino("few neighbours", in_gno_radius=0.15, out_gno_radius=0.1),
    gino("the width of a kernel's end is its own", out_gno_channel_mlp_hidden_layers=[8, 6]),
    plane("a plane"),
    plane("a plane, mollified", gno_weighting_function="half_cos"),
    fnogno("default"),
    fnogno("not batched", gno_batched=False),
    fnogno("no embedding", gno_pos_embed_type=None, projection_channel_ratio=2),
    fnogno("nonlinear", gno_transform_type="nonlinear"),
    fnogno("a nonlinear kernel alone", gno_transform_type="nonlinear_kernelonly"),
    fnogno("mollified", gno_weighting_function="bump"),
    fnogno("told a number", fno_norm="ada_in", fno_ada_in_features=4),
    fnogno("a plane", gno_coord_dim=2, fno_n_modes=(4, 5)),
    fnogno("few neighbours", gno_radius=0.1),
    gno("default"),
    gno("a mean", reduction="mean", pos_embedding_type=None),
    gno("a kernel alone", called=False, transform_type="linear_kernelonly", out_channels=4),
    gno("nonlinear, nerf", transform_type="nonlinear", pos_embedding_type="nerf"),
    gno("a nonlinear kernel alone", transform_type="nonlinear_kernelonly", out_channels=2),
    gno("in two axes, one function", coord_dim=2, in_channels=1),
    gno("mollified", weighting_fn=mollified("quadr", 0.4, 2.0)),
    otno("default"),
    otno("coordinates of the grid", positional_embedding="grid", out_channels=2),
    otno("a channel mlp, no norm", use_channel_mlp=True, channel_mlp_expansion=1.0, norm=None),
    otno("group norm of two groups", norm="group_norm", norm_groups=2),
    otno("padding", domain_padding=0.5),
    otno("Tucker", factorization="tucker", rank=0.5, preactivation=True),
    otno("as its FNO is told", fno_skip="soft-gating", non_linearity=torch.tanh),
]  # fmt: skip


def built(variant: Variant) -> torch.nn.Module:
    """Lists are copied: neuraloperator appends to those that it is given."""
    named = {k: list(x) if isinstance(x, list) else x for k, x in variant.named.items()}
    kind = layers.GNOBlock if variant.kind == "GNOBlock" else getattr(reference, variant.kind)
    torch.manual_seed(0)
    return imports.made(kind(**named))


def imported(theirs: torch.nn.Module, variant: Variant, size: Size) -> Imported:
    """The program, with the latent grid of a call."""
    latent = size.latent if variant.kind == "GINO" else None
    return import_call(call_of_module(theirs).also(latent=latent), plain_weights(theirs))


@dataclass(frozen=True)
class Case:
    """What goes into both, as leaves of gradients, and where points are."""

    leaves: dict[str, torch.Tensor]
    cloud: torch.Tensor
    grid: torch.Tensor
    queries: torch.Tensor
    numbers: torch.Tensor


def case(variant: Variant, size: Size) -> Case:
    o = variant.named
    d = 2 if variant.kind == "OTNO" else o.get("coord_dim") or o.get("gno_coord_dim", 3)
    line = torch.linspace(0, 1, size.latent)
    grid = torch.stack(torch.meshgrid(*[line] * d, indexing="ij"), -1)
    leaves: dict[str, torch.Tensor] = {}
    if variant.kind in {"FNOGNO", "OTNO"}:
        leaves["x"] = torch.randn(BATCH, *grid.shape[:-1], o["in_channels"])
    elif variant.called:
        leaves["x"] = torch.randn(BATCH, size.points, o["in_channels"])
    if o.get("latent_feature_channels"):
        batch = BATCH if variant.called else 1
        leaves["latent_features"] = torch.randn(
            batch, *grid.shape[:-1], o["latent_feature_channels"]
        )
    if o.get("fno_norm") == "ada_in":
        leaves["ada_in"] = torch.randn(o.get("fno_ada_in_dim", 1))
    nodes = grid.reshape(-1, d)
    if variant.kind == "GNOBlock":
        queries = torch.rand(size.queries, d)
        cloud = off(size.points, queries, o["radius"])
    else:
        queries = off(size.queries, nodes, o.get("gno_radius") or o.get("out_gno_radius", 1.0))
        cloud = off(size.points, nodes, o.get("in_gno_radius", 1.0))
    numbers = torch.randint(size.latent**d, (BATCH, size.queries))
    leaves = {k: x.requires_grad_() for k, x in leaves.items()}
    return Case(leaves, cloud, grid, queries, numbers)


def off(count: int, others: torch.Tensor, radius: float) -> torch.Tensor:
    """Random points, none so near a sphere around another that rounding decides who is inside."""
    points = torch.rand(2 * count, others.shape[-1])
    gaps = (torch.cdist(points.double(), others.double()) / radius - 1).abs().amin(1)
    return points[gaps > CLEAR][:count]


def their_result(theirs: torch.nn.Module, variant: Variant, given: Case) -> torch.Tensor:
    """(batch, channels, points)."""
    x, told = given.leaves.get("x"), given.leaves.get("ada_in")
    if variant.kind == "GNOBlock":
        found = theirs(given.cloud, given.queries, x)
        return (found if found.ndim == 3 else found[None]).movedim(-1, 1)
    if variant.kind == "OTNO":  # one sample at a time
        pairs = zip(x.movedim(-1, 1), given.numbers, strict=True)
        return torch.stack([theirs(y[None], n) for y, n in pairs])
    if variant.kind == "FNOGNO":
        if variant.named["gno_batched"]:
            return theirs(given.grid, given.queries, x, told).movedim(-1, 1)
        each = [theirs(given.grid, given.queries, y, told) for y in x]
        return torch.stack(each).movedim(-1, 1)
    found = theirs(
        given.cloud[None], given.grid[None], given.queries[None], x=x,
        latent_features=given.leaves.get("latent_features"), ada_in=told,
    )  # fmt: skip
    return found.movedim(-1, 1)


def our_result(ours: torch.nn.Module, weights: dict, given: Case) -> torch.Tensor:
    named = {k: x.movedim(-1, 1) for k, x in given.leaves.items() if k != "ada_in"}
    batch = max((len(x) for x in named.values()), default=1)
    if "ada_in" in given.leaves:
        named["ada_in"] = given.leaves["ada_in"].expand(batch, -1)
    if "ind_dec" in {x.name for x in ours.graph.inputs}:
        named["ind_dec"] = given.numbers[:, None].to(named["x"].dtype)
    asked = {x.name for x in ours.graph.side_inputs()}
    places = {"P": given.cloud, "Q": given.queries}
    named |= {k: x for k, x in places.items() if k in asked}
    return functional_call(ours, weights, (), named)


def gaps(theirs: torch.nn.Module, variant: Variant, size: Size) -> dict[str, float]:
    found = imported(theirs, variant, size)
    used = dict(theirs.named_parameters())
    dtype = next(iter(used.values())).real.dtype
    ours = module_of(found, plain_weights(theirs)).eval().to(dtype)
    given = case(variant, size)
    u = their_result(theirs, variant, given)
    v = our_result(ours, taken_weights(found, plain_weights(theirs) | used), given)
    assert v.shape == u.shape
    g = torch.randn_like(u)
    names = [*given.leaves, *used]
    leaves = [*given.leaves.values(), *used.values()]
    a = torch.autograd.grad(u, leaves, g, allow_unused=True)
    b = torch.autograd.grad(v, leaves, g, allow_unused=True)
    count = len(given.leaves)
    told = {"output": imports.relative(v, u)}
    told |= {n: imports.relative(y, x) for n, x, y in zip(names[:count], a, b, strict=False)}
    return told | {"weights": imports.weight_gap(a[count:], b[count:])}


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda x: f"{x.kind}: {x.name}")
def test_an_imported_model_on_points_is_the_references(variant):
    theirs = built(variant)
    for size in SIZES:
        told = gaps(theirs, variant, size)
        assert told.pop("output") <= imports.TOLERANCE
        rough = variant.named.get("fno_norm") in {"ada_in", "instance_norm"}
        assert max(told.values()) <= (ROUGH if rough else GRADIENTS), (size, told)
    found = imported(theirs, variant, SIZES[0])
    assert imports.counted(found) == imports.parameters(theirs) - imports.redundant(theirs, found)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda x: f"{x.kind}: {x.name}")
def test_in_double_precision_an_imported_model_on_points_is_the_references(variant, monkeypatch):
    """It has single precision written into it, in the default and in this one name."""
    monkeypatch.setattr(torch, "cfloat", torch.complex128)
    torch.set_default_dtype(torch.float64)
    try:
        theirs = built(variant)
        for x in (*theirs.parameters(), *theirs.buffers()):
            x.data = x.data.to(torch.complex128 if x.is_complex() else torch.float64)
        told = gaps(theirs, variant, SIZES[0])
    finally:
        torch.set_default_dtype(torch.float32)
    assert max(told.values()) <= EXACT, told


TRANSFORMS = [
    {"channel_mlp_layers": [6, 8, 4]},
    {"channel_mlp_layers": [6, 8, 5, 4], "reduction": "mean"},
    {"channel_mlp_layers": [7, 8, 3], "transform_type": "nonlinear"},
    {"channel_mlp_layers": [4, 8, 3], "transform_type": "linear_kernelonly"},
]


@pytest.mark.parametrize("named", TRANSFORMS, ids=lambda x: x.get("transform_type", "linear"))
def test_an_integral_along_the_edges_of_a_graph_is_the_references(named):
    """Of which each point has some, else neuraloperator has zero there, and we refuse."""
    torch.manual_seed(0)
    theirs = transform.IntegralTransform(**named, use_torch_scatter=False)
    text, ours = opdsl.from_neuralop(theirs)
    d = ours.graph.side_inputs()[0].domain.ambient
    near = torch.rand(20, 20) < 0.2
    near |= torch.eye(20, dtype=torch.bool)
    queries, points = near.nonzero(as_tuple=True)
    splits = torch.cat((torch.zeros(1), near.sum(1).cumsum(0))).long()
    given = {"neighbors_index": points, "neighbors_row_splits": splits}
    where, out = torch.rand(20, d), named["channel_mlp_layers"][-1]
    f = None if "input x" not in text else torch.randn(BATCH, 20, out)
    u = theirs(y=where, neighbors=given, f_y=f)
    place = opdsl.Geometry(where, edges=torch.stack((points, queries), 1))
    v = ours(P=place) if f is None else ours(f.movedim(-1, 1), P=place)
    u = (u if u.ndim == 3 else u[None]).movedim(-1, 1)
    assert v.shape == u.shape
    assert imports.relative(v, u) <= imports.TOLERANCE


@pytest.mark.parametrize("name", ["told a number", "latent features"])
def test_a_saved_gino_is_imported_from_its_folder(tmp_path, name):
    variant = next(x for x in VARIANTS if x.kind == "GINO" and x.name == name)
    theirs = built(variant)
    theirs.save_checkpoint(tmp_path, "model")
    call, weights = read_checkpoint(tmp_path)
    assert call is not None
    given = case(variant, SIZES[0])
    ours = module_of(import_call(call.also(latent=SIZES[0].latent), weights), weights).eval()
    found = our_result(ours, dict(ours.named_parameters()), given)
    assert imports.relative(found, their_result(theirs, variant, given)) <= imports.TOLERANCE


def test_samples_with_points_of_their_own_are_those_that_the_reference_takes_one_by_one():
    variant = next(x for x in VARIANTS if x.kind == "GINO" and x.name == "default")
    theirs = built(variant)
    ours = module_of(imported(theirs, variant, SIZES[0]), plain_weights(theirs)).eval()
    given = [case(variant, Size(n, SIZES[0].latent, m)) for n, m in ((40, 30), (25, 44))]
    found = ours(
        opdsl.Packed.of(x.leaves["x"][0].T for x in given),
        P=[x.cloud for x in given],
        Q=[x.queries for x in given],
    )
    for x, mine in zip(given, found.parts, strict=True):
        wanted = their_result(theirs, variant, x)[0]
        assert imports.relative(mine, wanted) <= imports.TOLERANCE
