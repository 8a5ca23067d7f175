"""On the sphere the same weights are the same function as neuraloperator's, with gradients.

Its `n_modes = (degrees, k)` keeps the degrees below `degrees` and the orders below k // 2, its
transforms are those of torch_harmonics, "ortho" and with the phase of Condon and Shortley. Whole
models are compared in `test_import.py`; here is the layer, also on the grid that SFNO cannot reach.
"""

import warnings

import pytest
import torch

from opdsl.nn.sphere.harmonics import SphericalConv, inverse_sht, sht
from opdsl.nn.sphere.vector import inverse_vector_sht, vector_sht

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports warn
    pytest.importorskip(
        "neuralop.models", reason="neuraloperator is not importable here", exc_type=ImportError
    )
    harmonics = pytest.importorskip(
        "torch_harmonics", reason="torch_harmonics is not importable here", exc_type=ImportError
    )
    from neuralop.layers.spherical_convolution import SphericalConv as Reference
pytestmark = pytest.mark.filterwarnings("ignore")  # what is warned of there is not ours

TOLERANCE = 1e-5  # relative, float32
TABLES = 1e-7  # its tables are float32 numbers, whatever they are cast to
GRIDS = {"equiangular": "equiangular", "gauss_legendre": "legendre-gauss"}
SAMPLINGS = GRIDS | {"lobatto": "lobatto"}
DEGREES, ORDERS = 8, 5
SIZES = ((16, 24), (24, 32), (33, 50))  # of training, and two others


def gap(a: torch.Tensor, b: torch.Tensor) -> float:
    """||a - b|| / ||b||."""
    return float((a - b).norm() / b.norm())


def last(x: torch.Tensor) -> torch.Tensor:
    """Channels-first to channels-last."""
    return x.movedim(1, -1)


def pair(
    sampling: str, factor: str, way: str = "reconstructed"
) -> tuple[torch.nn.Module, SphericalConv]:
    """Both layers with the same numbers; the vector of CP is ones, as ours are its columns."""
    torch.manual_seed(0)
    theirs = Reference(
        3, 4, (DEGREES, 2 * ORDERS), factorization=factor, rank=0.7, implementation=way,
        sht_grids=GRIDS[sampling],
    )  # fmt: skip
    ours = SphericalConv(
        3, 4, DEGREES - 1, sampling=sampling, orders=ORDERS - 1, real=False, factor=factor,
        ranks=ranks(theirs.weight, factor),
    )  # fmt: skip
    with torch.no_grad():
        if factor == "cp":
            theirs.weight.weights[:] = 1.0
        for mine, other in zip(leaves(ours), reference_leaves(theirs), strict=True):
            torch.nn.init.normal_(other, std=0.5)
            mine.copy_(arranged(other, factor))
        torch.nn.init.normal_(theirs.bias)
        ours.bias.copy_(theirs.bias.flatten())
    return theirs, ours


def ranks(weight: torch.nn.Module, factor: str) -> tuple[int, ...]:
    if factor == "dense":
        return ()
    if factor == "cp":
        return (weight.rank,)
    return tuple(weight.rank if factor == "tucker" else weight.rank[1:-1])


def leaves(ours: SphericalConv) -> list[torch.Tensor]:
    """By name: the core before the factors."""
    return [x for name, x in sorted(ours.named_parameters()) if name != "bias"]


def reference_leaves(theirs: torch.nn.Module) -> list[torch.Tensor]:
    """Pairs of numbers too, in the same order."""
    left_out = ("bias", "weight.weights")
    return [x for name, x in sorted(theirs.named_parameters()) if name not in left_out]


def arranged(x: torch.Tensor, factor: str) -> torch.Tensor:
    """(in, out, l, 2) -> (l, in, out, 2); factors have the shapes of ours."""
    return x.movedim(2, 0) if factor == "dense" else x


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("factor", ["dense", "cp", "tucker", "tt"])
@pytest.mark.parametrize("sampling", GRIDS)
def test_the_spherical_convolution_is_the_references(sampling, factor, size):
    theirs, ours = pair(sampling, factor)
    x = torch.randn(2, 3, *size, requires_grad=True)
    u, v = last(theirs(x)), ours(last(x), size)
    assert gap(v, u) <= TOLERANCE
    g = torch.randn_like(u)
    a = torch.autograd.grad(u, [x, theirs.bias, *reference_leaves(theirs)], g)
    b = torch.autograd.grad(v, [x, ours.bias, *leaves(ours)], g)
    assert gap(b[0], a[0]) <= TOLERANCE
    assert gap(b[1], a[1].flatten()) <= TOLERANCE
    for mine, other in zip(b[2:], a[2:], strict=True):
        assert gap(mine, arranged(other, factor)) <= TOLERANCE


@pytest.mark.parametrize("factor", ["dense", "cp", "tucker", "tt"])
def test_its_factors_applied_one_by_one_are_the_same(factor):
    theirs, ours = pair("equiangular", factor, way="factorized")
    x = torch.randn(2, 3, *SIZES[0])
    assert gap(ours(last(x), SIZES[0]), last(theirs(x))) <= TOLERANCE


@pytest.mark.parametrize("sampling", GRIDS)
def test_a_change_of_resolution_is_the_references(sampling):
    theirs, ours = pair(sampling, "dense")
    x = torch.randn(2, 3, *SIZES[0])
    for size in SIZES[1:]:
        u = last(theirs(x, output_shape=size))
        assert gap(ours(last(x), size), u) <= TOLERANCE


def test_one_order_more_is_another_operator():
    """So the orders are counted as there: k // 2 of them, from 0."""
    theirs, ours = pair("equiangular", "dense")
    more = SphericalConv(3, 4, DEGREES - 1, sampling="equiangular", orders=ORDERS, real=False)
    more.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, *SIZES[0])
    assert gap(more(last(x), SIZES[0]), last(theirs(x))) > 0.05


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_fewer_orders_than_degrees_are_those_of_torch_harmonics(sampling):
    torch.manual_seed(0)
    size = (2 * DEGREES, 26)
    kept = {"lmax": DEGREES, "mmax": ORDERS, "grid": SAMPLINGS[sampling]}
    x = torch.randn(1, *size, 1, dtype=torch.float64)
    z = sht(x, DEGREES - 1, sampling, ORDERS - 1)
    there = harmonics.RealSHT(*size, **kept).double()
    assert gap(z[..., 0], there(x[..., 0])) <= TABLES
    back = harmonics.InverseRealSHT(*size, **kept).double()
    assert gap(inverse_sht(z, size, sampling)[..., 0], back(z[..., 0])) <= TABLES


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_tangent_fields_are_those_of_torch_harmonics(sampling):
    """Its second spectrum is -T: it has the curl of r x grad T with the other sign."""
    torch.manual_seed(0)
    size = (2 * DEGREES, 26)
    kept = {"lmax": DEGREES, "mmax": DEGREES, "grid": SAMPLINGS[sampling]}
    u = torch.randn(1, *size, 1, 2, dtype=torch.float64)
    S, T = vector_sht(u, DEGREES - 1, sampling)
    there = harmonics.RealVectorSHT(*size, **kept).double()
    found = there(u[0, ..., 0, :].movedim(-1, 0))
    assert gap(S[0, ..., 0], found[0]) <= TABLES
    assert gap(-T[0, ..., 0], found[1]) <= TABLES
    back = harmonics.InverseRealVectorSHT(*size, **kept).double()
    wanted = back(torch.stack([S[0, ..., 0], -T[0, ..., 0]]))
    v = inverse_vector_sht(S, T, size, sampling)
    assert gap(v[0, ..., 0, :].movedim(-1, 0), wanted) <= TABLES
