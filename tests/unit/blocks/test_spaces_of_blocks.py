"""Spaces, refusals, bounds and costs of blocks; torch is not needed for any of it."""

import pytest

from opdsl import blocks
from opdsl.ir.axes import Axis
from opdsl.ir.block import Refusal
from opdsl.ir.spaces import Domain, Space
from opdsl.ir.steps import Extend

D = Domain(name="D", axes=(Axis(name="x"), Axis(name="y")))
OTHER = Domain(name="G", axes=(Axis(name="x"), Axis(name="y")))
E = D.extended(Extend(name="E", numerator=1, denominator=4))
POINTS = Domain(name="P", kind="points", ambient=2, axes=(Axis(name="points"),))
AT = {"D.x": 8, "D.y": 16, "(D.x//2)": 4, "(D.y//2)": 8}


def make(keyword: str, **fields):
    return blocks.find(keyword)(**fields)


def of(channels: int, domain: Domain = D, *names: str) -> Space:
    return Space(domain=domain, channels=channels, components=names or None)


def refusal(block, *x: Space) -> Refusal:
    with pytest.raises(Refusal) as caught:
        block.infer(*x)
    return caught.value


# --- spaces


def test_concat_keeps_names_that_are_all_there_and_all_different():
    joined = make("concat").infer(of(1, D, "perm"), make("coords", domain=D).infer())
    assert joined.components == ("perm", "x", "y")
    assert make("concat").infer(of(1, D, "x"), of(1, D, "x")).components is None
    assert make("concat").infer(of(1, D, "x"), of(1)).components is None


def test_a_sum_keeps_names_on_which_the_parts_agree():
    assert make("add").infer(of(1, D, "p"), of(1, D, "p")).components == ("p",)
    assert make("add").infer(of(1, D, "p"), of(1, D, "q")).components is None


def test_an_identity_keeps_names_and_a_function_loses_them():
    assert make("apply", kind="identity").infer(of(1, D, "p")).components == ("p",)
    assert make("apply", kind="gelu").infer(of(1, D, "p")).components is None


def test_a_spectral_convolution_keeps_its_channels_and_grid_by_default():
    assert make("spectral_conv", modes=2).infer(of(3)) == of(3)
    moved = make("spectral_conv", modes=2, out=5, to=D.coarsened(2)).infer(of(3))
    assert moved == of(5, D.coarsened(2))


def test_resampling_reaches_every_coarsening_of_one_declaration():
    there = make("resample", to=D.coarsened(4)).infer(of(3))
    assert make("resample", to=D).infer(there) == of(3)


def test_an_extension_is_coarsened_and_refined_like_a_grid():
    half = make("resample", to=E.coarsened(2)).infer(of(3, E))
    assert half.domain == E.coarsened(2)


# --- refusals


@pytest.mark.parametrize("keyword", ["add", "sub", "mul", "concat"])
def test_functions_on_different_domains_are_not_joined(keyword):
    assert refusal(make(keyword), of(3), of(3, OTHER)).code == "OP0304"
    assert refusal(make(keyword), of(3), of(3, D.coarsened(2))).code == "OP0304"


@pytest.mark.parametrize("keyword", ["add", "sub", "mul"])
def test_functions_of_different_width_are_not_added(keyword):
    assert refusal(make(keyword), of(3), of(4)).code == "OP0303"


@pytest.mark.parametrize("keyword", ["resample", "spectral_conv"])
def test_nothing_is_resampled_between_declarations(keyword):
    block = make(keyword, to=OTHER, **({"modes": 1} if keyword == "spectral_conv" else {}))
    found = refusal(block, of(3))
    assert (found.code, found.at) == ("OP0313", "to")


def test_an_extension_is_entered_by_pad_only():
    found = refusal(make("resample", to=E), of(3))
    assert found.code == "OP0313"
    assert "pad" in found.helps[0]


def test_a_function_is_not_resampled_to_points():
    assert refusal(make("resample", to=POINTS), of(3)).code == "OP0301"


@pytest.mark.parametrize(
    ("keyword", "on", "to"),
    [("pad", D, OTHER), ("pad", D, D), ("pad", E, D), ("crop", D, E), ("crop", E, OTHER)],
)
def test_pad_goes_to_an_extension_and_crop_back(keyword, on, to):
    found = refusal(make(keyword, to=to), of(3, on))
    assert (found.code, found.at) == ("OP0313", "to")


def test_pad_says_how_to_declare_an_extension():
    found = refusal(make("pad", to=OTHER), of(3))
    assert found.helps == ("declare the larger domain by `domain E = extend(D, fraction = 1/4)`",)


@pytest.mark.parametrize("domain", [D.spectrum((3,) * D.dims), E])
def test_coordinates_exist_on_a_declared_grid_only(domain):
    found = refusal(make("coords", domain=domain))
    assert (found.code, found.at) == ("OP0301", "domain")


def test_one_number_of_modes_is_needed_for_each_axis():
    found = refusal(make("spectral_conv", modes=(1, 2, 3)), of(3))
    assert (found.code, found.at) == ("OP0308", "modes")
    assert found.message == "`modes` has 3 entries; the domain has 2 axes"


def test_channels_must_split_into_groups():
    found = refusal(make("norm", kind="group", groups=2), of(3))
    assert (found.code, found.at) == ("OP0208", "groups")
    assert found.label == "3 = 1 * 2 + 1"


def test_only_a_group_norm_has_groups():
    assert refusal(make("norm", kind="layer", groups=3), of(3)).at == "groups"


def test_only_a_linear_skip_changes_its_channels():
    found = refusal(make("skip", kind="soft", out=4), of(3))
    assert (found.code, found.at) == ("OP0303", "out")


# --- bounds


def test_keeping_m_modes_needs_two_m_plus_one_points_on_both_sides():
    block = make("spectral_conv", modes=(3, 5), to=D.coarsened(2))
    found = [(str(b.domain), b.axis, b.points, b.keeps) for b in block.bounds(of(3))]
    assert found == [
        ("D", 0, 7, "|k| <= 3"),
        ("D", 1, 11, "|k| <= 5"),
        ("D/2", 0, 7, "|k| <= 3"),
        ("D/2", 1, 11, "|k| <= 5"),
    ]


def test_a_bound_knows_the_modes_that_would_fit():
    one, pair = make("spectral_conv", modes=32), make("spectral_conv", modes=(32, 4))
    assert one.bounds(of(3))[0].cure(16) == "modes = 7"
    assert one.bounds(of(3))[0].cure(17) == "modes = 8"
    assert pair.bounds(of(3))[0].cure(16) == "modes = (7, 4)"
    assert one.bounds(of(3))[0].note == "sampling theorem: 2 * 32 + 1 = 65 samples"


# --- costs


def test_a_matrix_costs_two_operations_for_each_entry_at_each_point():
    cost = make("linear", out=5).cost(of(3))
    assert cost.params == 20
    assert cost.flops.at(AT) == 8 * 16 * (2 * 15 + 5)


def test_a_spectral_convolution_has_a_complex_matrix_for_each_mode():
    cost = make("spectral_conv", modes=(3, 2), out=5).cost(of(4))
    assert cost.params == 7 * 3 * 4 * 5 * 2 + 5
    transforms = 2.5 * 128 * (3 + 4) * (4 + 5)
    assert cost.flops.at(AT) == transforms + 8 * 7 * 3 * 4 * 5


def test_the_reference_counts_as_many_parameters():
    """neuraloperator's FNO block of 32 channels and 16 x 16 modes keeps 16 x 9 frequencies."""
    cost = make("spectral_conv", modes=(8, 8)).cost(of(32))
    assert cost.params == 2 * 32 * 32 * 17 * 9 + 32


def test_matrix_products_are_counted_as_they_are_made():
    """One axis: (2 (m + 1), n) there and (n, 2 (m + 1)) back, 2 flops for each entry."""
    line = Domain(name="D", axes=(Axis(name="x"),))
    work = make("spectral_conv", modes=4, out=3).work("dft", ((64,), (32,)), of(2, line))
    assert work.gemm == 2 * 10 * 64 * 2 + 2 * 10 * 32 * 3 + 8 * 5 * 2 * 3
    assert work.fft == 0


def test_the_second_axis_of_the_matrix_kernel_works_on_what_is_left():
    work = make("spectral_conv", modes=(2, 4)).work("dft", ((16, 64), (16, 64)), of(1))
    one_way = 2 * 10 * 64 * 16 + 2 * (2 * 5) * (2 * 16) * 5
    assert work.gemm == 2 * one_way + 8 * 25


def test_fast_transforms_are_cut_after_each_axis():
    work = make("spectral_conv", modes=(2, 4)).work("fft", ((16, 64), (16, 64)), of(1))
    assert work.fft == 2 * (2.5 * 16 * 64 * 6 + 5 * 16 * 5 * 4)
    assert work.gemm == 8 * 25


def test_fast_transforms_of_three_axes_shrink_twice():
    box = Domain(name="D", axes=(Axis(name="x"), Axis(name="y"), Axis(name="z")))
    size = (8, 16, 32)
    work = make("spectral_conv", modes=(1, 2, 3)).work("fft", (size, size), of(1, box))
    one_way = 2.5 * 8 * 16 * 32 * 5 + 5 * 8 * 16 * 4 * 4 + 5 * 8 * 4 * 5 * 3
    assert work.fft == 2 * one_way
