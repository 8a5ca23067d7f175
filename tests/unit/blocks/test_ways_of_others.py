"""Parameters that are there for weights which were trained elsewhere."""

import pytest
import torch

from opdsl import blocks
from opdsl.ir.axes import Axis
from opdsl.ir.block import Refusal
from opdsl.ir.spaces import Domain, Space

D1 = Domain(name="D", axes=(Axis(name="x", boundary="periodic"),))
D2 = Domain(name="D", axes=(Axis(name="x", boundary="periodic"), Axis(name="y")))
SPHERE = Domain(
    kind="sphere", name="S", sampling="equiangular", axes=(Axis(name="lat"), Axis(name="lon"))
)


def make(keyword: str, **fields):
    return blocks.find(keyword)(**fields)


def test_a_stencil_with_zeros_at_all_edges_is_torchs_same_padding():
    layer = make("conv", out=4, kernel=3, bias=False, edges="zeros").lower(
        Space(domain=D2, channels=3)
    )
    x = torch.randn(2, 6, 7, 3)
    weight = layer.weight.permute(3, 2, 0, 1)
    wanted = torch.nn.functional.conv2d(x.movedim(-1, 1), weight, padding="same").movedim(1, -1)
    torch.testing.assert_close(layer(x), wanted)
    assert layer.bias is None


@pytest.mark.parametrize("n", [5, 9, 20])
def test_linear_interpolation_goes_from_the_first_to_the_last_point(n):
    layer = make("resample", to=D1.coarsened(2), kind="linear").lower(Space(domain=D1, channels=1))
    x = torch.linspace(-1, 3, 12).reshape(1, 12, 1)
    wanted = torch.linspace(-1, 3, n).reshape(1, n, 1)
    torch.testing.assert_close(layer(x, size=(n,)), wanted)


def test_cubic_interpolation_keeps_the_values_of_common_points():
    layer = make("resample", to=D2.coarsened(2), kind="cubic").lower(Space(domain=D2, channels=2))
    x = torch.randn(1, 5, 4, 2)
    torch.testing.assert_close(layer(x, size=(9, 7))[:, ::2, ::2], x)


@pytest.mark.parametrize(("kind", "domain", "field"), [
    ("linear", D2, "R"), ("cubic", D1, "R"), ("linear", D1, "C"),
])  # fmt: skip
def test_interpolation_is_refused_where_it_is_not_defined(kind, domain, field):
    block = make("resample", to=domain.coarsened(2), kind=kind)
    with pytest.raises(Refusal) as found:
        block.infer(Space(domain=domain, channels=1, field=field))
    assert (found.value.code, found.value.at) == ("OP0208", "kind")


def test_fractions_of_a_sphere_count_rows_and_columns():
    block = make("coords", domain=SPHERE, kind="fraction")
    assert block.infer().components == ("lat", "lon")
    found = block.lower()(size=(4, 8), like=torch.zeros(1))
    wanted = torch.stack(torch.meshgrid(torch.arange(4) / 4, torch.arange(8) / 8, indexing="ij"))
    torch.testing.assert_close(found, wanted.movedim(0, -1)[None])


def test_a_grid_has_no_fractions():
    with pytest.raises(Refusal, match="fractions"):
        make("coords", domain=D2, kind="fraction").infer()


def test_a_layout_for_each_axis_counts_its_frequencies():
    x = Space(domain=D2, channels=2)
    for layout, count in [(("neuralop", "symmetric"), 4), (("symmetric", "neuralop"), 5)]:
        block = make("spectral_conv", modes=2, layout=layout, bias=False)
        assert block.cost(x).params == 2 * count * 3 * 2 * 2
        assert sum(p.numel() for p in block.lower(x).parameters()) == block.cost(x).params
    with pytest.raises(Refusal, match="3 entries; the domain has 2 axes"):
        make("spectral_conv", modes=2, layout=("neuralop",) * 3).infer(x)


def test_a_fault_is_no_operator():
    x = Space(domain=D2, channels=2)
    assert make("spectral_conv", modes=2).diverges(x) is None
    assert "depends on the resolution" in make(
        "spectral_conv", modes=2, faults="neuralop_2_0_0"
    ).diverges(x)
