import pytest

from opdsl.blocks.local.conv import Conv
from opdsl.blocks.points.position import Position
from opdsl.blocks.pointwise.linear import Linear
from opdsl.blocks.spectral.spectral_conv import SpectralConv
from opdsl.ir.axes import Axis
from opdsl.ir.certificate import certify
from opdsl.ir.spaces import Domain, Space
from tests.hand_built import Writer


def model(*blocks, **axis):
    domain = Domain(name="D", axes=(Axis(name="x", **axis), Axis(name="y", **axis)))
    p = Writer(a=Space(domain=domain, channels=2))
    v = "a"
    for i, block in enumerate(blocks):
        made = block(domain) if callable(block) else block
        v = p.node(f"n{i}", made, v)
    return p.graph("M", {"u": v})


def coarse(factor, modes):
    return lambda d: SpectralConv(modes=modes, to=d.coarsened(factor))


def test_a_promise_is_kept_if_every_operator_has_enough_points():
    found = certify(model(SpectralConv(modes=(8, 4)), min=17))
    assert [(x.needed, x.holds) for x in found.promises] == [(17, True), (9, True)]
    assert [x.holds for x in certify(model(SpectralConv(modes=(8, 4)), min=16)).promises] == [
        False,
        True,
    ]


def test_the_tightest_bound_is_the_cause():
    found = certify(model(SpectralConv(modes=3), SpectralConv(modes=9), SpectralConv(modes=5)))
    cause = found.promises[0].cause
    assert cause is not None
    assert (cause.node.path, cause.points) == ("n1", 19)
    assert cause.text == "`n1` keeps |k| <= 9 on D"
    assert cause.place == "specs/model.op:3"


def test_every_bound_is_told_not_the_tightest_only():
    found = certify(model(SpectralConv(modes=3), SpectralConv(modes=9)))
    assert [x.points for x in found.causes] == [7, 7, 19, 19]


def test_a_bound_on_a_coarser_grid_is_a_bound_on_the_declared_one():
    found = certify(model(coarse(4, 8), min=68))
    # 17 points on D/4 need 68 on D
    assert {x.needed for x in found.promises} == {68}
    assert all(x.holds for x in found.promises)


def test_a_model_without_bounds_works_at_one_point():
    found = certify(model(Linear(out=1)))
    assert {(x.needed, x.holds, x.cause) for x in found.promises} == {(1, True, None)}


def test_pointwise_and_spectral_layers_are_agnostic_and_convergent():
    found = certify(model(SpectralConv(modes=3), Linear(out=1), min=7))
    assert (found.agnostic, found.convergent) == (True, True)
    assert found.operators == 2


def test_a_stencil_is_agnostic_but_does_not_converge():
    found = certify(model(Conv(out=2), Linear(out=1)))
    assert (found.agnostic, found.convergent) == (True, False)
    ((node, why),) = found.diverging
    assert node.path == "n0"
    assert "shrinks with the grid" in why


@pytest.mark.parametrize(
    ("axis", "told"), [({"fixed": 9}, "D.x has 9 points"), ({"size": 8}, "D.x has 8 points")]
)
def test_a_fixed_axis_pins_the_model(axis, told):
    found = certify(model(Linear(out=1), **axis))
    assert not found.agnostic
    assert found.pinned[0] == told


def test_an_operator_with_a_value_for_each_point_pins_the_model():
    found = certify(model(Position(), fixed=4))
    assert found.pinned[-1] == "`n0` has a trained value for each sample point"
    assert not found.convergent
