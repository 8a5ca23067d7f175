"""Differences and local convolutions beside neuraloperator's: equal where it is right.

It is right on the grid that it was made for, away from the ends: its kernel has so many points on
every grid, and zeros beyond the ends of axes that close. Put a checkout of it on PYTHONPATH.
"""

import warnings

import pytest
import torch

from opdsl.diagnostics import OpError
from opdsl.migrate.neuralop.changes import functions
from opdsl.migrate.neuralop.importing import module_of, plain_weights
from opdsl.nn.grid.difference import DifferenceConv
from opdsl.nn.grid.disco import DiscoConv, basis_size
from tests import imports
from tests.imports import Variant

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports warn
    reference = pytest.importorskip(
        "neuralop.models", reason="neuraloperator is not importable here", exc_type=ImportError
    )
    differences = pytest.importorskip("neuralop.layers.differential_conv")
    discos = pytest.importorskip(
        "neuralop.layers.discrete_continuous_convolution",
        reason="torch_harmonics is not importable here",
        exc_type=ImportError,
    )
    embeddings = pytest.importorskip("neuralop.layers.embeddings")
pytestmark = pytest.mark.filterwarnings("ignore")  # what is warned of there is not ours

EDGES = {"periodic": "wrap", "replicate": "replicate", "reflect": "reflect", "zeros": "zeros"}


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("padding", EDGES)
@pytest.mark.parametrize(("kernel", "groups"), [(3, 1), (5, 1), (3, 4)])
def test_differences_are_the_references(axes, padding, kernel, groups):
    if padding == "reflect" and axes == 3 and kernel == 5:
        pytest.skip("one size is enough")
    torch.manual_seed(0)
    size = (8, 10, 12)[:axes]
    theirs = differences.FiniteDifferenceConvolution(4, 4, axes, kernel, groups, padding)
    # spacing 1 / 16 on each axis, whatever its number of points
    ours = DifferenceConv(
        4, 4, kernel, lengths=tuple(n / 16 for n in size), widths=(1.0,) * axes,
        closed=(True,) * axes, edges=(EDGES[padding],) * axes, groups=groups,
    )  # fmt: skip
    ours.load_state_dict({"weight": theirs.state_dict()["weight"]})
    x = torch.randn(2, 4, *size)
    found = ours(x.movedim(1, -1)).movedim(-1, 1)
    assert imports.relative(found, theirs(x, 1 / 16)) < imports.TOLERANCE


def pair(shape, radius, *, frozen: bool, edges: str):
    """Theirs made for 16 x 16 points, and ours with its weights; the box is 2 wide."""
    torch.manual_seed(0)
    theirs = discos.EquidistantDiscreteContinuousConv2d(
        2, 3, (16, 16), (16, 16), list(shape), domain_length=[2, 2], radius_cutoff=radius,
        periodic=True,
    )  # fmt: skip
    ours = DiscoConv(
        2, 3, shape=shape, radius=radius, lengths=(2.0, 2.0), closed=(True, True),
        edges=(edges,) * 2, frozen=(16, 16) if frozen else None,
    )  # fmt: skip
    weight = functions(basis_size(shape), theirs.weight.detach())
    ours.load_state_dict({"weight": weight, "bias": theirs.bias.detach()})
    return theirs, ours


KERNELS = [((2, 4), 0.25), ((3, 5), 0.375), ((4, 1), 0.375), ((3, 4), 0.5)]


@pytest.mark.parametrize(("shape", "radius"), KERNELS)
@pytest.mark.parametrize("n", [16, 24, 33])
@torch.no_grad()
def test_a_frozen_kernel_with_zeros_beyond_the_ends_is_the_references(shape, radius, n):
    theirs, ours = pair(shape, radius, frozen=True, edges="zeros")
    x = torch.randn(2, 2, n, n)
    found = ours(x.movedim(1, -1)).movedim(-1, 1)
    assert imports.relative(found, theirs(x)) < imports.TOLERANCE


@pytest.mark.parametrize(("shape", "radius"), KERNELS)
@torch.no_grad()
def test_where_it_was_made_for_only_the_border_differs(shape, radius):
    theirs, ours = pair(shape, radius, frozen=False, edges="wrap")
    x = torch.randn(2, 2, 16, 16)
    found, there = ours(x.movedim(1, -1)).movedim(-1, 1), theirs(x)
    inside = (..., slice(4, -4), slice(4, -4))
    assert imports.relative(found[inside], there[inside]) < imports.TOLERANCE
    assert imports.relative(found, there) > 1e-2


@pytest.mark.parametrize(("shape", "radius"), KERNELS)
@torch.no_grad()
def test_on_finer_grids_ours_has_a_limit_and_the_references_goes_elsewhere(shape, radius):
    """Both against ours on 256 points, where the sum over points is nearly the integral."""
    theirs, ours = pair(shape, radius, frozen=False, edges="wrap")

    def wave(n: int) -> torch.Tensor:
        x = torch.arange(n) * (2 * torch.pi / n)
        u = torch.stack([torch.cos(2 * x[:, None] + x), torch.sin(x[:, None] - 3 * x)])
        return u[None]

    def inside(y: torch.Tensor) -> torch.Tensor:
        """The middle half, on 16 points: what zeros beyond the ends do is not looked at."""
        step = y.shape[-1] // 16
        return y[..., ::step, ::step][..., 4:-4, 4:-4]

    limit = inside(ours(wave(256).movedim(1, -1)).movedim(-1, 1))
    gaps = [
        imports.relative(inside(ours(wave(n).movedim(1, -1)).movedim(-1, 1)), limit)
        for n in (32, 64, 128)
    ]
    assert gaps[-1] < 0.02
    assert gaps[-1] < gaps[0] / 2
    assert imports.relative(inside(theirs(wave(128))), limit) > 10 * gaps[-1]


BASE = {"n_modes": (6, 6), "default_in_shape": [16, 16], "domain_length": [2, 2], "in_channels": 2,
        "out_channels": 1, "hidden_channels": 8, "n_layers": 2}  # fmt: skip


def local(name: str, **named) -> Variant:
    return Variant(
        name, "LocalNO", BASE | {"radius_cutoff": 0.25} | named, ((16, 16), (24, 24), (32, 32))
    )


def coordinates(*ends):
    return embeddings.GridEmbeddingND(in_channels=2, dim=2, grid_boundaries=list(map(list, ends)))


VARIANTS = [
    local("coordinates from -1", positional_embedding=coordinates((-1.0, 1.0), (-1.0, 1.0))),
    local("axes of two lengths", positional_embedding=coordinates((0.0, 1.0), (0.0, 3.0)),
          disco_layers=False),
    local("a stencil wider than its modes", n_modes=(4, 4), fin_diff_kernel_size=7),
    local("padding", domain_padding=0.25),
    local("no coordinates", positional_embedding=None),
    local("odd rings at the default radius", radius_cutoff=None, disco_kernel_shape=[3, 4]),
    local("only the middle", disco_kernel_shape=[1, 1]),
    local("Tucker", factorization="tucker", rank=0.5),
    local("stabilizer", stabilizer="tanh"),
    local("identity", local_no_skip="identity"),
]  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda x: x.name)
def test_an_imported_local_operator_is_the_references(variant):
    torch.manual_seed(0)
    theirs = imports.made(reference.LocalNO(**variant.named))
    found = imports.imported(theirs)
    inputs = [torch.randn(2, variant.channels, *x) for x in variant.sizes]
    gaps = imports.gaps(theirs, found, inputs)
    assert max(gaps.values()) <= imports.TOLERANCE, gaps
    assert imports.counted(found) == imports.parameters(theirs) - imports.redundant(theirs, found)


@torch.no_grad()
def test_on_grids_of_another_shape_only_ours_is_a_derivative():
    """There one spacing, that of the last axis, divides the differences along both."""
    torch.manual_seed(0)
    theirs = differences.FiniteDifferenceConvolution(1, 1, 2, 3)
    ours = DifferenceConv(
        1, 1, 3, lengths=(1.0, 1.0), widths=(1 / 16,) * 2, closed=(True, True), edges=("wrap",) * 2
    )
    ours.load_state_dict({"weight": theirs.state_dict()["weight"]})
    a, b = (2 * torch.pi * torch.arange(n) / n for n in (256, 512))
    v = (torch.sin(a)[:, None] * torch.cos(b))[None, None]
    j, W = torch.tensor([-1.0, 0.0, 1.0]), theirs.weight[0, 0]
    by_a, by_b = torch.cos(a)[:, None] * torch.cos(b), -torch.sin(a)[:, None] * torch.sin(b)
    wanted = (W.sum(1) @ j * by_a + W.sum(0) @ j * by_b) * 2 * torch.pi / 16
    assert imports.relative(ours(v.movedim(1, -1))[0, ..., 0], wanted) < 0.03
    assert imports.relative(theirs(v, 16 / 512)[0, 0], wanted) > 0.5


def test_an_import_says_that_differences_are_divided_otherwise_there():
    found = imports.imported(reference.LocalNO(**BASE | {"radius_cutoff": 0.25}))
    assert any("spacing of the last" in x for x in found.notes)


def test_a_local_kernel_on_axes_of_several_lengths_is_refused():
    named = BASE | {"positional_embedding": coordinates((0.0, 1.0), (0.0, 3.0))}
    with pytest.raises(OpError, match="axes of several lengths"):
        imports.imported(reference.LocalNO(**named))


@pytest.mark.parametrize(
    "named", [{}, {"positional_embedding": coordinates((-1.0, 1.0), (-1.0, 1.0))}]
)
@torch.no_grad()
def test_a_corrected_import_converges(named):
    torch.manual_seed(0)
    theirs = imports.made(reference.LocalNO(**BASE | {"radius_cutoff": 0.25} | named))
    gaps = {}
    for corrected in (True, False):
        module = module_of(imports.imported(theirs, corrected=corrected), plain_weights(theirs))
        outputs = {n: module(wave(n))[..., :: n // 32, :: n // 32] for n in (32, 64, 128)}
        gaps[corrected] = [imports.relative(outputs[n], outputs[128]) for n in (32, 64)]
    assert gaps[True][1] < gaps[True][0]
    assert gaps[True][1] < gaps[False][1]


def wave(n: int) -> torch.Tensor:
    x = torch.arange(n) * (2 * torch.pi / n)
    return torch.stack([torch.cos(x[:, None] + x), torch.sin(x[:, None] - 2 * x)])[None]


def test_a_corrected_import_asks_for_the_points_that_its_kernel_needs():
    """The default radius is one spacing, which is not enough on the grid that it was made for."""
    found = imports.imported(reference.LocalNO(**BASE), corrected=True)
    assert "min = 17" in found.text
    assert any("asks for 17 points" in x for x in found.notes)
