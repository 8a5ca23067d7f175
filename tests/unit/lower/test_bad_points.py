"""Points that cannot be right, given to a model: each has one diagnostic with a way out."""

import pytest
import torch

import opdsl
from opdsl import Geometry, OpError, Packed
from opdsl.nn.points.measure import quadrature_weights

PROGRAM = """edition 2026
model M {
  domain P = points(2, geometry = per_sample)
  domain Q = points(2, max = 500)
  input f : P -> R^1
  output u : Q -> R^1
  u = f |> gno(to = Q, radius = 0.3, kernel = [8])
}"""


def cloud(n, seed=0):
    return torch.rand(n, 2, generator=torch.Generator().manual_seed(seed))


P, Q, NAN = cloud(100), cloud(50, 1), cloud(100)
NAN[3, 1] = torch.nan
F = torch.ones(1, 1, 100)
PACK = Packed.of([F[0], F[0, :, :40]])

WRONG = {
    "coordinates that are no numbers": (F, NAN, Q, "OP0612", "at 1 of 100 points"),
    "queries that are no numbers": (F, P, NAN, "OP0612", "at 1 of 100 points"),
    "an empty sample": (
        F[..., :0],
        P[:0],
        Q,
        "OP0903",
        "`P` has 0 points; `M` promises points >= 1",
    ),
    "no queries": (F, P, Q[:0], "OP0903", "`Q` has 0 points; `M` promises points >= 1"),
    "more queries than promised": (F, P, cloud(501), "OP0903", "`Q` has 501 points"),
    "more values than points": (F, P[:90], Q, "OP0906", "`P` has 100 points from `f`, `P` has 90"),
    "a sample with more values": (PACK, [P, P[:39]], Q, "OP0906", "39 points in sample 1"),
    "a radius that catches nothing": (F, P, Q + 3, "OP0908", "50 of 50 query points"),
    "points of another dimension": (F, torch.rand(100, 3), Q, "OP0907", "3 coordinates"),
}


@pytest.mark.parametrize(("f", "p", "q", "code", "said"), WRONG.values(), ids=WRONG)
def test_points_that_cannot_be_right_are_refused(f, p, q, code, said):
    model = opdsl.compile(PROGRAM)
    with pytest.raises(OpError) as caught:
        model(f, P=p, Q=q)
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert said in found.message
    assert found.helps or found.notes or "expected" in found.message or "promises" in found.message


def test_a_radius_that_catches_everything_is_refused_before_the_memory_is_full():
    model = opdsl.compile(PROGRAM.replace("0.3", "3.0").replace(", max = 500", ""))
    many = cloud(20_000)
    with pytest.raises(OpError) as caught:
        model(torch.zeros(1, 1, 20_000), P=many, Q=many)
    (found,) = caught.value.diagnostics
    assert found.code == "OP0909"
    assert "4e+08 pairs of 20000 points and 20000 queries" in found.message
    assert found.helps[0].text.endswith("gives about 32 neighbours")


def test_copies_of_a_point_are_neighbours_like_others():
    model = opdsl.compile(PROGRAM)
    twice = model(torch.cat((F, F), -1), P=torch.cat((P, P)), Q=Q)
    torch.testing.assert_close(twice, model(F, P=P, Q=Q))


# --- weights

INTEGRAL = PROGRAM.replace("radius = 0.3", "radius = 3.0, reduction = integral")
COPIES = P[torch.arange(100) // 2]


def refused(program, f, p):
    with pytest.raises(OpError) as caught:
        opdsl.compile(program)(f, P=p, Q=Q)
    (found,) = caught.value.diagnostics
    assert found.code == "OP0910"
    assert found.helps
    return found.message


def measured(how):
    return INTEGRAL.replace("per_sample", f"per_sample, measure = {how}")


@pytest.mark.parametrize(
    ("how", "p", "said"),
    [
        ("voronoi", COPIES, "50 of 100 points lie where another one does"),
        ("density", P[:1].expand(100, 2), "100 of 100 points lie where another one does"),
        ("given", P, "the points bring neither weights nor cells"),
        ("uniform", Geometry(P, torch.full((100,), -1.0)), "100 of 100 weights are negative"),
        ("uniform", Geometry(P, None, torch.tensor([[0, 1, 100]])), "a cell has the corner 100"),
    ],
)
def test_points_without_weights_are_refused_where_an_integral_needs_them(how, p, said):
    assert said in refused(measured(how), F, p)
    opdsl.compile(measured(how).replace("integral", "mean"))(F, P=p, Q=Q)


def test_samples_with_and_without_weights_are_not_mixed():
    pair = [P, Geometry(P, torch.ones(100))]
    said = refused(INTEGRAL, torch.ones(2, 1, 100), pair)
    assert "sample 0 of the batch has no weights" in said


@pytest.mark.parametrize("how", ["voronoi", "density"])
def test_an_integral_has_the_weights_that_the_domain_declares(how):
    torch.manual_seed(0)
    model = opdsl.compile(measured(how))
    given = Geometry(P, quadrature_weights(Geometry(P), how))
    assert not torch.equal(given.weights, torch.ones(100))
    torch.manual_seed(0)
    other = opdsl.compile(measured("given"))
    torch.testing.assert_close(model(F, P=P, Q=Q), other(F, P=given, Q=Q))
