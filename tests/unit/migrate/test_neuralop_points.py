"""Calls of GINO, FNOGNO, OTNO and GNOBlock as programs, without neuraloperator."""

import pytest
import torch

import opdsl
from opdsl.diagnostics import OpError
from opdsl.lower.module import lower
from opdsl.migrate.neuralop import import_call, read_call
from opdsl.migrate.neuralop.changes import CHANGES
from opdsl.summary import summarise

SMALL = "fno_n_modes=(4, 4, 4), fno_hidden_channels=8"
GINO = f"GINO(3, 1, {SMALL})"
FNOGNO = f"FNOGNO(3, 1, {SMALL})"


def text_of(call: str, **options) -> str:
    return import_call(read_call(call), **options).text


def lines_of(call: str, **options) -> str:
    """Its text, each statement on one line."""
    return " ".join(text_of(call, **options).split())


@pytest.mark.parametrize("call", [GINO, FNOGNO, "GNOBlock(3, 3, 3, 0.1)"])
@pytest.mark.parametrize("corrected", [False, True])
def test_a_program_on_points_has_no_warnings(call, corrected):
    assert opdsl.check(text_of(call, corrected=corrected)).diagnostics == ()


@pytest.mark.parametrize(("call", "count"), [
    # as neuraloperator counts its own, at 93d3f06
    ("GINO(3, 1, latent_feature_channels=1, fno_n_modes=(8, 8, 8), fno_hidden_channels=16)",
     1_036_036),
    (f"GINO(3, 1, {SMALL}, fno_norm='ada_in')", 502_756),
    ("FNOGNO(3, 1, fno_n_modes=(8, 8, 8), fno_hidden_channels=16)", 996_993),
    ("GNOBlock(3, 3, 3, 0.1)", 115_587),
])  # fmt: skip
def test_the_parameters_are_those_of_the_reference(call, count):
    assert summarise(import_call(read_call(call)).graph).params == count


def test_the_sum_of_the_reference_is_kept_or_an_integral():
    for call in (GINO, FNOGNO, "GNOBlock(3, 3, 3, 0.1)"):
        kept, right = lines_of(call), lines_of(call, corrected=True)
        assert "reduction = sum" in kept
        assert "Note: kept: the integral is a sum there" in kept.replace("# ", "")
        assert "reduction = sum" not in right
        assert "reduction = integral" in right


def test_the_latent_grid_is_that_of_the_call_twice_the_modes_or_of_its_features():
    assert "param latent : int = 8" in text_of(GINO)
    assert "param latent : int = 24" in import_call(read_call(GINO).also(latent=24)).text
    assert "size = latent" in text_of(GINO)
    features = text_of(f"GINO(3, 1, latent_feature_channels=2, {SMALL})")
    assert "latent_features : L -> R^2" in features
    assert "param latent" not in features
    assert "min = 4" in features


@pytest.mark.parametrize(("more", "given"), [
    ("", True),
    ("fno_in_channels=5", False),  # which a function of three channels does not fit
    ("in_gno_transform_type='linear_kernelonly'", False),
    ("in_gno_transform_type='nonlinear'", True),
])  # fmt: skip
def test_a_gino_has_a_function_on_its_points_where_its_call_can_have_one(more, given):
    text = text_of(f"GINO(3, 1, {SMALL}, {more})")
    assert ("input x : P -> R^3" in text) is given
    assert ("coords(P)" in text) is not given


def test_a_kernel_that_is_not_alone_at_the_end_is_told():
    text = lines_of(f"GINO(3, 1, {SMALL}, out_gno_transform_type='linear_kernelonly')")
    assert "kernelonly" not in text.partition("edition")[2]
    assert "Note: kept: neuraloperator multiplies by the function" in text


def test_what_fnogno_cannot_run_there_is_told():
    text = lines_of("FNOGNO(1, 1, gno_coord_dim=2, fno_n_modes=(4, 4), fno_hidden_channels=4, "
                    "fno_norm='ada_in', gno_weighting_function='bump')")  # fmt: skip
    for what in ("`gno_use_open3d`", "`gno_batched`", "`ada_in`"):
        assert what in text


@pytest.mark.parametrize(("call", "code"), [
    (f"GINO(3, 1, gno_coord_dim=2, {SMALL})", "OP0641"),
    (f"GINO(3, 1, fno_resolution_scaling_factor=[2, 1, 1, 1], {SMALL})", "OP0641"),
    (f"GINO(3, 1, gno_weighting_function='square', {SMALL})", "OP0641"),
    (f"GINO(3, 1, fno_conv_module=SphericalConv, {SMALL})", "OP0641"),
    (f"GINO(3, 1, fno_norm='layer_norm', {SMALL})", "OP0641"),
    (f"GINO(3, 1, gno_channel_mlp_non_linearity=F.hardtanh, {SMALL})", "OP0641"),
    (f"GINO(3, 1, out_gno_channel_mlp_hidden_layers=[], {SMALL})", "OP0641"),
    (f"GINO(3, 1, in_gno_transform_type='quadratic', {SMALL})", "OP0642"),
    (f"GINO(3, 1, fno_domain_padding=0.125, {SMALL})", "OP0642"),
    ("GINO(3)", "OP0642"),
    ("FNO((4, 4), 1, 1, 4, latent=8)", "OP0642"),
    ("GNOBlock(3, 4, 3, 0.1)", "OP0642"),
    ("OTNO((6, 6), 8, resolution_scaling_factor=2)", "OP0641"),
    ("OTNO((6, 6), 8, complex_data=True)", "OP0641"),
    ("IntegralTransform()", "OP0641"),
    ("IntegralTransform(channel_mlp_layers=[6, 4, 3], weighting_fn=mine)", "OP0641"),
    ("IntegralTransform(channel_mlp_layers=[6, 4, 3], transform_type='nonlinear_kernelonly')",
     "OP0641"),
    ("IntegralTransform(channel_mlp_layers=[5, 4, 3])", "OP0642"),
    ("GNOBlock(3, 3, 3, 0.1, channel_mlp=mine)", "OP0641"),
    ("GNOBlock(3, 3, 3, 0.1, weighting_fn=mine)", "OP0641"),
])  # fmt: skip
def test_what_cannot_be_imported_on_points_is_said(call, code):
    with pytest.raises(OpError) as found:
        import_call(read_call(call))
    assert found.value.diagnostics[0].code == code


def test_waves_are_those_of_the_embedding_and_their_columns_come_apart():
    torch.manual_seed(0)
    numbers, count = 2, 3
    weight, z = torch.randn(5, 2 * count * numbers), torch.randn(numbers)
    for kind, rates in (
        ("nerf", torch.pi * torch.tensor([1.0, 2.0, 4.0])),
        ("transformer", torch.tensor([1.0, 1e4 ** (-2 / 3), 1e4 ** (-4 / 3)])),
    ):
        phase = torch.outer(z, rates)
        theirs = weight @ torch.stack((phase.sin(), phase.cos()), -1).flatten()
        ours = z @ CHANGES[f"waves_{kind}_{numbers}"](weight)
        mixed = CHANGES["apart"](weight) @ torch.cat((ours.sin(), ours.cos()))
        torch.testing.assert_close(mixed, theirs)


def test_an_otno_reads_its_grid_by_numbers_and_says_that_there_is_a_batch():
    text = lines_of("OTNO((6, 6), 8, in_channels=9)")
    assert "input ind_dec : P -> R^1" in text
    assert "pull(" in text
    assert "one sample at a time" in text
    assert opdsl.check(text_of("OTNO((6, 6), 8)")).diagnostics == ()


def test_corrected_an_integral_stays_as_points_get_denser_where_the_reference_grows():
    """From 16 to 32 points on each side: four times the points, and four times the sum."""
    torch.manual_seed(0)  # no integral near zero
    call = "GNOBlock(1, 1, 2, 0.4, pos_embedding_type=None, channel_mlp_layers=[8])"
    kept, right = (
        lower(import_call(read_call(call), corrected=x).graph).double() for x in (False, True)
    )
    right.load_state_dict(kept.state_dict())
    queries = 0.5 + torch.tensor([[0.0, 0.0], [0.031, -0.07]], dtype=torch.float64)
    found = []
    for n in (16, 32, 64):
        line = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        cloud = torch.cartesian_prod(line, line)
        f = torch.cos(3 * cloud[:, :1] + cloud[:, 1:]).T[None]
        with torch.no_grad():
            found.append([m(f, P=cloud, Q=queries) for m in (kept, right)])
    (sum16, int16), (sum32, int32), (sum64, int64) = found
    assert torch.allclose(sum32 / sum16, torch.full_like(sum16, 4.0), rtol=0.1)
    assert torch.allclose(sum64 / sum32, torch.full_like(sum16, 4.0), rtol=0.05)
    assert (int64 - int32).norm() < 0.03 * int64.norm()
    assert (int32 - int16).norm() < 0.06 * int64.norm()
