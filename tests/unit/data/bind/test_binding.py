"""Binding the fields of a file to the ports of a model."""

from dataclasses import replace

import pytest
import torch

from opdsl.data import FieldRequest, Fields, bind_fields
from opdsl.data.bind.samples import TimeSteps
from opdsl.diagnostics import OpError


def fields(roles=None, layout="periodic", **values):
    values = values or {"a": ramp(1), "u": ramp(1) + 1}
    some = next(iter(values.values()))
    return Fields(
        name="set",
        values=values,
        roles=roles or dict.fromkeys(values, "unknown"),
        axes=("x", "y", "z")[: some.ndim - 2],
        resolution=tuple(some.shape[2:]),
        suspects=(),
        source="set.h5",
        fingerprint="0" * 64,
        layout=layout,
    )


def ramp(channels, samples=4, n=6, dtype=torch.float32):
    return torch.arange(samples * channels * n * n).reshape(samples, channels, n, n).to(dtype)


def port(name, channels=1, components=None, axes=2):
    return FieldRequest(name, channels, components, axes)


def said(*args, **kwargs):
    with pytest.raises(OpError) as caught:
        bind_fields(*args, **kwargs)
    return caught.value.diagnostics


MARKED = {"a": "input", "u": "output"}


def test_named_components_become_channels_in_their_order():
    held = fields(p=ramp(1), v=ramp(1) + 500, w=ramp(1) + 900)
    got = bind_fields(held, [port("in", 2, ("w", "p"))], [port("out", 1, ("v",))])
    assert torch.equal(got.inputs["in"][:, 0], held.values["w"][:, 0])
    assert torch.equal(got.inputs["in"][:, 1], held.values["p"][:, 0])
    assert torch.equal(got.outputs["out"], held.values["v"])


def test_a_mapping_is_obeyed_even_against_the_marks():
    got = bind_fields(fields(MARKED), [port("q")], [port("r")], {"q": "u", "r": ["a"]})
    assert torch.equal(got.inputs["q"], ramp(1) + 1)
    assert torch.equal(got.outputs["r"], ramp(1))


def test_a_mapping_joins_fields_side_by_side():
    got = bind_fields(fields(MARKED), [port("q", 2)], [port("r")], {"q": ["u", "a"]})
    assert got.inputs["q"].shape == (4, 2, 6, 6)
    assert torch.equal(got.inputs["q"][:, :1], ramp(1) + 1)


def test_fields_with_the_names_of_the_ports_are_taken_wherever_they_stand():
    held = fields({"a": "input", "b": "input", "u": "output"}, a=ramp(1), b=-ramp(1), u=ramp(1))
    got = bind_fields(held, [port("b"), port("a")], [port("u")])
    assert torch.equal(got.inputs["b"], -ramp(1))
    assert torch.equal(got.inputs["a"], ramp(1))


def test_a_field_of_a_ports_name_is_never_taken_by_another_port():
    held = fields({"a": "input", "b": "input", "u": "output"}, a=ramp(1), b=-ramp(1), u=ramp(1))
    got = bind_fields(held, [port("force"), port("a")], [port("u")])
    assert torch.equal(got.inputs["a"], ramp(1))
    assert torch.equal(got.inputs["force"], -ramp(1))


def test_a_field_that_lacks_is_asked_for_once():
    (one,) = said(fields(MARKED), [port("force"), port("a")], [port("u")])
    assert "which field is the input `force`?" in one.message
    assert one.helps[0].text == "add a field `force` to the file"


def test_a_file_without_fields_is_one_mistake():
    held = Fields("set", {}, {}, ("x",), (), (), "set.h5", "0")
    (one,) = said(held, [port("a", axes=1), port("b", axes=1)], [port("u", axes=1)])
    assert (one.code, one.message) == ("OP0611", "the file has no fields")


def test_marked_fields_go_to_the_ports_at_their_places():
    got = bind_fields(fields(MARKED), [port("coefficient")], [port("pressure")])
    assert torch.equal(got.inputs["coefficient"], ramp(1))
    assert torch.equal(got.outputs["pressure"], ramp(1) + 1)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float64])
def test_every_number_format_becomes_float32(dtype):
    held = fields(MARKED, a=torch.ones(2, 1, 3, 3, dtype=dtype), u=ramp(1, 2, 3))
    got = bind_fields(held, [port("p")], [port("q")]).inputs["p"]
    assert got.dtype == torch.float32
    assert torch.equal(got, torch.ones(2, 1, 3, 3))


def test_a_missing_field_names_those_of_the_file_and_the_nearest():
    (one,) = said(fields(pressure=ramp(1), u=ramp(1)), [port("q")], [], {"q": "presure"})
    assert one.code == "OP0611"
    assert "`presure`" in one.message
    assert "`pressure` and `u`" in one.message
    assert "did you mean `pressure`?" in one.helps[0].text
    assert one.file == "set.h5"


def test_unmarked_fields_are_not_guessed():
    one, two = said(fields(), [port("p")], [port("q")])
    assert one.code == two.code == "OP0611"
    assert "input `p`" in one.message
    assert "output `q`" in two.message


def test_more_ports_than_marked_fields_is_one_mistake_for_each_port():
    found = said(fields(MARKED), [port("p"), port("q")], [port("r")])
    assert [x.code for x in found] == ["OP0611", "OP0611"]


def test_channels_that_differ_are_named_with_both_numbers():
    (one,) = said(fields(MARKED), [port("p", 3)], [port("q")])
    assert one.code == "OP0613"
    assert "`a` has 1 channel" in one.message
    assert "`p` of the model has 3" in one.message


def test_axes_that_differ_are_named_with_both_numbers():
    (one,) = said(fields(MARKED), [port("p", axes=1)], [port("q")])
    assert one.code == "OP0613"
    assert "the data have 2 axes, `p` of the model has 1" in one.message


def test_a_mapping_for_a_port_that_the_model_lacks_is_a_mistake():
    (one,) = said(fields(MARKED), [port("flow")], [port("q")], {"folw": "a"})
    assert one.code == "OP0613"
    assert "did you mean `flow`?" in one.helps[0].text


def test_an_empty_mapping_gives_no_channels():
    (one,) = said(fields(MARKED), [port("p")], [port("q")], {"p": []})
    assert one.code == "OP0613"


def test_all_mistakes_are_told_at_once():
    found = said(fields(MARKED), [port("p", 3)], [port("q", 2)])
    assert [x.code for x in found] == ["OP0613", "OP0613"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_counted_and_placed(bad):
    u = ramp(1)
    u[2, 0, 1, 1] = u[3, 0, 0, 0] = bad
    (one,) = said(fields(MARKED, a=ramp(1), u=u), [port("p")], [port("q")])
    assert one.code == "OP0612"
    assert "`u` holds 2 values" in one.message
    assert "sample 2" in one.message


def test_a_float64_too_large_for_float32_asks_for_another_unit():
    u = ramp(1, dtype=torch.float64)
    u[1, 0, 0, 0] = 1e300
    (one,) = said(fields(MARKED, a=ramp(1), u=u), [port("p")], [port("q")])
    assert one.code == "OP0619"
    assert one.message == "`u` holds 1 value too large for float32, first in sample 1"
    assert "multiplied by 1e-300" in one.helps[0].text


def test_a_truth_of_which_nothing_is_left_in_float32_is_refused():
    u = ramp(1, dtype=torch.float64) * 1e-60
    (one,) = said(fields(MARKED, a=ramp(1), u=u), [port("p")], [port("q")])
    assert (one.code, one.severity) == ("OP0619", "error")
    assert "too small for float32, first in sample 0" in one.message


def test_one_sample_that_loses_digits_is_warned_of():
    u = ramp(1, dtype=torch.float64) + 1
    u[2] = 1e-40
    found = bind_fields(fields(MARKED, a=ramp(1), u=u), [port("p")], [port("q")])
    (one,) = found.warnings
    assert (one.code, one.severity) == ("OP0619", "warning")
    assert (
        f"`u` holds {u[2].numel()} values too small for float32, first in sample 2" in one.message
    )


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_values_that_float32_holds_are_no_news(scale):
    u = (ramp(1, dtype=torch.float64) + 1) * scale
    u[1, 0, 0, 0] = 1e-38 * scale  # beside larger ones it is rounding
    assert bind_fields(fields(MARKED, a=ramp(1), u=u), [port("p")], [port("q")]).warnings == ()


def test_samples_whose_truth_is_zero_are_named():
    u = ramp(1) + 1
    u[1] = u[3] = 0
    found = bind_fields(fields(MARKED, a=ramp(1) * 0, u=u), [port("p")], [port("q")])
    (one,) = found.warnings
    assert (one.code, one.severity) == ("OP0631", "warning")
    assert one.message == "`q` is zero everywhere in 2 samples: 1, 3"


def test_a_step_in_time_that_is_zero_names_its_sample():
    u = ramp(3) + 1
    u[2, 1] = 0
    found = bind_fields(
        fields(MARKED, a=ramp(1), u=u), [port("p")], [replace(port("q"), steps=TimeSteps(3))]
    )
    assert found.warnings[0].message == "`q` is zero everywhere in a step of 1 sample: 2"


def test_a_field_that_is_not_used_may_hold_nan():
    held = fields(MARKED | {"junk": "unknown"}, a=ramp(1), u=ramp(1), junk=ramp(1) * torch.nan)
    assert len(bind_fields(held, [port("p")], [port("q")])) == 4


def test_the_first_samples_are_the_first():
    whole = bind_fields(fields(MARKED), [port("p")], [port("q")])
    part = whole.first(3)
    assert len(part) == 3
    assert torch.equal(part.outputs["q"], whole.outputs["q"][:3])
    assert len(whole.first(100)) == 4


def test_a_coarser_grid_holds_the_same_values():
    u = ramp(1, n=9)
    whole = bind_fields(fields(MARKED, "node", a=u, u=u), [port("p")], [port("q")])
    coarse = whole.at(5)
    assert coarse.resolution == (5, 5)
    assert torch.equal(coarse.inputs["p"], u[:, :, ::2, ::2])
    assert torch.equal(coarse.inputs["p"][..., -1, -1], u[..., -1, -1])


def test_a_coarser_grid_that_does_not_exist_is_refused():
    whole = bind_fields(fields(MARKED), [port("p")], [port("q")])
    with pytest.raises(OpError) as caught:
        whole.at(4)
    assert caught.value.diagnostics[0].code == "OP0614"


def test_the_first_and_the_last_samples_are_those_of_the_file():
    got = bind_fields(fields(MARKED), [port("p")], [port("q")])
    assert torch.equal(got.first(3).inputs["p"], ramp(1)[:3])
    assert torch.equal(got.last(3).inputs["p"], ramp(1)[1:])
    assert torch.equal(got.last(3).outputs["q"], ramp(1)[1:] + 1)
    assert torch.equal(got.last(9).inputs["p"], ramp(1))
    assert len(got.last(0)) == len(got.first(0)) == 0
