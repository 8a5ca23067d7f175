"""What people do wrong with a Fourier operator, and what they are told.

The rows are those of the list of typical mistakes with neuraloperator's FNO: what that library
answers stands behind each. Where it says nothing and computes something else, we still answer.
"""

import pytest
import torch

import opdsl
from opdsl.data import FieldRequest, Fields, bind_fields
from opdsl.setting import Setting
from opdsl.train.config.settings import resolve
from tests.programs import codes, model, only

FNO = """
output u : D -> R^1
u = a |> Lift(out = 8) |> FNOBlock(modes = 4) |> Project(out = 1)
"""


@pytest.fixture(scope="module")
def fno():
    return opdsl.compile(model(FNO, domain="x: 0..1, y: 0..1, min = 16"))


def refused(call, *inputs, **named) -> str:
    """The text of the one diagnostic."""
    with pytest.raises(opdsl.OpError) as error:
        call(*inputs, **named)
    assert len(error.value.diagnostics) == 1
    return str(error.value)


# --- programs ---------------------------------------------------------------------------------


def test_more_modes_than_the_grid_can_hold():
    """Reference: nothing, runs; 93 % of its weights never get a gradient."""
    fault = only(model(FNO.replace("= 4", "= 64"), domain="x, y, min = 16"))
    assert fault.code == "OP0309"
    assert fault.labels[0].span.text == "FNOBlock(modes = 64)"
    assert [x.text for x in fault.helps] == [
        "raise the promise: `min = 129`",
        "or keep fewer modes: `modes = 7`",
    ]


def test_a_misspelt_parameter():
    """Reference: TypeError without a suggestion."""
    fault = only(model(FNO.replace("modes = 4", "mode = 4")))
    assert fault.message == "`FNOBlock` has no parameter `mode`"
    assert fault.helps[0].text == "did you mean `modes`?"


def test_a_misspelt_norm():
    """Reference: ValueError with the choices."""
    fault = only(model(FNO.replace("= 4", "= 4, normalise = instnce")))
    assert (fault.code, fault.helps[0].text) == ("OP0208", "did you mean `instance`?")


def test_a_norm_that_is_not_for_this_block():
    """Reference: TypeError about the size of an empty tensor."""
    assert only(model(FNO.replace("= 4", "= 4, normalise = ada_in"))).code == "OP0208"


def test_one_number_of_modes_stands_for_all_axes():
    """Reference: TypeError, an int has no len()."""
    assert codes(model(FNO)) == []


def test_too_few_numbers_of_modes():
    """Reference: modes of the missing axes are silently those of the last."""
    fault = only(model(FNO.replace("= 4", "= (4, 4, 4)")))
    assert fault.message == "`modes` has 3 entries; the domain has 2 axes"


def test_padding_by_a_tuple():
    """Reference: silently no padding at all. Here it is one fraction for each axis."""
    used = "\noutput u : D -> R^2\nu = a |> pad(to = E) |> linear(out = 2) |> crop(to = D)"
    assert codes(model("domain E = extend(D, fraction = (0.1, 0.1))" + used)) == []
    assert codes(model("domain E = extend(D, fraction = (0.1, 0.1, 0.1))" + used)) == ["OP0208"]


def test_padding_and_a_change_of_resolution():
    """Reference: KeyError: '[96, 96]'. Here both are domains, unrelated ones."""
    body = "domain E = extend(D, fraction = 0.5)\noutput u : D / 2 -> R^2\n"
    assert only(model(body + "u = a |> pad(to = E) |> resample(to = D / 2)")).code == "OP0313"


def test_a_gate_that_changes_the_channels():
    """Reference: ValueError from inside the constructor of a skip."""
    fault = only(model("output u : D -> R^8\nu = skip(a, kind = soft, out = 8)"))
    assert fault.code in ("OP0303", "OP0207")


@pytest.mark.parametrize(("key", "value"), [("precision", "fp17"), ("loss", "h2")])
def test_a_setting_that_does_not_exist(key, value):
    """Reference: accepted, and means the default."""
    text = refused(resolve, [Setting((key,), value, "--set")])
    assert "OP0604" in text
    assert value in text


def test_a_misspelt_setting():
    """Reference: a keyword of forward() is ignored with a warning, one of a config is ignored."""
    text = refused(resolve, [Setting(("optimizer", "lrr"), 1e-3, "--set")])
    assert "did you mean `lr`?" in text


# --- tensors ----------------------------------------------------------------------------------


def test_the_wrong_number_of_channels(fno):
    """Reference: expected 5 channels but got 3, both with hidden coordinates in them."""
    text = refused(fno, torch.randn(2, 3, 16, 16))
    assert "OP0902" in text
    assert "input `a` has 3 channels, (2, 3, 16, 16), expected 2" in text


@pytest.mark.parametrize("shape", [(2, 16, 16), (2, 2, 16), (2, 2, 16, 16, 16)])
def test_the_wrong_number_of_axes(fno, shape):
    """Reference: AssertionError in embeddings.py, or one of einsum."""
    text = refused(fno, torch.randn(shape))
    assert "OP0901" in text
    assert "(batch, channels, x, y)" in text


def test_channels_last(fno):
    """Reference: expected 3 channels, but got 18."""
    assert "movedim" in refused(fno, torch.randn(2, 16, 16, 2))


def test_data_in_double_precision(fno):
    """Reference: Input type (double) and bias type (float) should be the same."""
    text = refused(fno, torch.randn(2, 2, 16, 16, dtype=torch.float64))
    assert "OP0905" in text
    assert ".double()" in text


def test_a_model_in_double_precision_works():
    """Reference: expected scalar type ComplexDouble but found ComplexFloat."""
    module = opdsl.compile(model(FNO, domain="x, y, min = 16")).double()
    assert module(torch.randn(1, 2, 17, 16, dtype=torch.float64)).dtype == torch.float64


def test_a_grid_below_the_promise(fno):
    """Reference: nothing, runs with a part of its weights."""
    text = refused(fno, torch.randn(2, 2, 8, 16))
    assert "input `a` has 8 points along x" in text
    assert "x >= 16" in text


def test_an_unknown_keyword_of_forward(fno):
    """Reference: UserWarning, ignored."""
    assert "OP0904" in refused(fno, torch.randn(2, 2, 16, 16), output_shap=[32, 32])


# --- files ------------------------------------------------------------------------------------


def fields(channels: int, *grid: int) -> Fields:
    """A data set of one input and one output."""
    x, y = torch.randn(3, channels, *grid), torch.randn(3, 1, *grid)
    axes = ("x", "y", "z")[: len(grid)]
    roles = {"x": "input", "y": "output"}
    return Fields("test", {"x": x, "y": y}, roles, axes, grid, (), "test.pt", "0")


@pytest.mark.parametrize(
    ("data", "says"),
    [(fields(3, 16, 16), "channel"), (fields(2, 16, 16, 16), "ax"), (fields(2, 16), "ax")],
    ids=["channels", "three axes", "one axis"],
)
def test_data_that_do_not_fit_the_model(data, says):
    """Reference: a shape error from inside a layer, in the first step of training."""
    wanted = FieldRequest("a", 2, None, 2), FieldRequest("u", 1, None, 2)
    text = refused(bind_fields, data, [wanted[0]], [wanted[1]])
    assert "OP0613" in text
    assert says in text
