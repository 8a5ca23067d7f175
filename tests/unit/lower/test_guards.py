import numpy as np
import pytest
import torch

import opdsl
from opdsl.diagnostics import OpError
from opdsl.ir.axes import Axis
from opdsl.ir.graph import Graph
from opdsl.ir.spaces import Domain, Space
from opdsl.lower.module import OperatorModule, lower
from tests.hand_built import Writer
from tests.operators import Dense, Join, Wave, fourier, line, plane, ports


def one(channels=1, domain=None, components=None):
    space = Space(domain=domain or plane(1), channels=channels, components=components)
    p = Writer(a=space)
    return lower(p.graph("One", {"u": p.node("u", Dense(out=1), "a")}))


def two():
    p = Writer(a=Space(domain=line(), channels=1), force=Space(domain=line(), channels=2))
    return lower(
        p.graph("Two", {"u": p.node("u", Dense(out=1), p.node("j", Join(), "a", "force"))})
    )


def refusal(module, *inputs, **named):
    with pytest.raises(OpError) as error:
        module(*inputs, **named)
    (diagnostic,) = error.value.diagnostics
    return diagnostic


def text(diagnostic):
    return " | ".join((diagnostic.message, *diagnostic.notes, *(x.text for x in diagnostic.helps)))


@pytest.mark.parametrize(
    ("channels", "shape", "cure"),
    [
        (1, (3, 8, 8), "the channel axis seems to be missing: `a.unsqueeze(1)`"),
        (4, (4, 8, 8), "the batch axis seems to be missing: `a.unsqueeze(0)`"),
        (4, (8, 8, 4), "`a.movedim(-1, 0).unsqueeze(0)`"),
        (1, (8, 8), "`a[None, None]`"),
        (1, (2, 5, 1, 8, 8), "`flatten(1, 2)`"),
        (1, (2,), "give a tensor (batch, channels, x, y)"),
    ],
)
def test_a_wrong_number_of_axes_is_named_with_its_likely_cure(channels, shape, cure):
    found = refusal(one(channels), torch.zeros(shape))
    assert found.code == "OP0901"
    axes = f"has {len(shape)} axes, {shape}, expected (batch, channels, x, y)"
    assert found.message == f"input `a` {axes}"
    assert cure in text(found)


def test_every_cure_for_missing_axes_makes_the_call_work():
    assert one(1)(torch.zeros(3, 8, 8).unsqueeze(1)).shape == (3, 1, 8, 8)
    assert one(4)(torch.zeros(4, 8, 8).unsqueeze(0)).shape == (1, 1, 8, 8)
    assert one(4)(torch.zeros(8, 8, 4).movedim(-1, 0).unsqueeze(0)).shape == (1, 1, 8, 8)
    assert one(1)(torch.zeros(8, 8)[None, None]).shape == (1, 1, 8, 8)


def test_wrong_channels_name_the_components():
    found = refusal(one(2, components=("u10", "v10")), torch.zeros(1, 5, 8, 8))
    assert found.code == "OP0902"
    assert found.message == "input `a` has 5 channels, (1, 5, 8, 8), expected 2: u10, v10"


def test_channels_that_stand_last_are_recognised():
    found = refusal(one(3), torch.zeros(1, 8, 8, 3))
    assert found.code == "OP0902"
    assert "the channels seem to stand last: `a.movedim(-1, 1)`" in text(found)


def test_too_few_points_name_the_node_that_keeps_the_modes():
    found = refusal(lower(fourier()), torch.zeros(1, 1, 9, 8))
    assert found.code == "OP0903"
    assert found.message == "input `a` has 8 points along y; `Small` promises y >= 9"
    assert found.notes == (
        "`u.repeat.0.fourier_layer.k` keeps |k| <= 4 on D (specs/model.op:5)",
        "sampling theorem: 2 * 4 + 1 = 9 samples",
    )
    assert [x.text for x in found.helps] == [
        "resample the data to 9 points along y",
        "or keep less there: `modes = 3`",
    ]


def test_a_promise_stricter_than_the_operators_says_so():
    d = line(16)
    p = Writer(a=Space(domain=d, channels=1))
    module = lower(p.graph("Strict", {"u": p.node("k", Wave(modes=(2,), out=1), "a")}))
    found = refusal(module, torch.zeros(1, 1, 10))
    assert found.message == "input `a` has 10 points along x; `Strict` promises x >= 16"
    assert "the operators themselves need x >= 5" in found.notes


@pytest.mark.parametrize(
    ("axis", "points", "wanted", "cure"),
    [
        ({"min": 4, "max": 8}, 9, "x <= 8", "8 points"),
        ({"multiple_of": 4}, 10, "multiples of 4 along x", "8 or 12 points"),
        ({"multiple_of": 4}, 2, "x >= 4", "4 points"),
        ({"multiple_of": 4, "max": 11}, 10, "multiples of 4 along x", "8 points"),
        ({"fixed": 7}, 8, "x = 7 only", "7 points"),
        ({"size": 7}, 8, "x = 7 only", "7 points"),
    ],
)
def test_a_broken_promise_says_which_resolutions_are_near(axis, points, wanted, cure):
    domain = Domain(name="D", axes=(Axis(name="x", **axis),))
    found = refusal(one(domain=domain), torch.zeros(1, 1, points))
    assert found.code == "OP0903"
    assert found.message == f"input `a` has {points} points along x; `One` promises {wanted}"
    assert f"resample the data to {cure} along x" in text(found)


def test_the_grid_of_an_extension_is_one_that_exists():
    from opdsl.ir.steps import Extend

    step = Extend(name="E", numerator=1, denominator=2)
    module = one(domain=line(1).extended(step))
    assert module(torch.zeros(1, 1, 9)).shape == (1, 1, 9)  # 6 and its half
    found = refusal(module, torch.zeros(1, 1, 10))  # 6 gives 9 and 7 gives 11
    assert "a grid that is `E` of some `D`" in found.message
    assert "resample the data to 9 or 11 points" in text(found)


def test_the_smallest_promised_resolution_is_accepted():
    assert lower(fourier())(torch.zeros(1, 1, 9, 9)).shape == (1, 2, 9, 9)


def test_a_misspelt_name_gets_the_nearest_one():
    found = refusal(two(), torch.zeros(1, 1, 9), forse=torch.zeros(1, 2, 9))
    assert found.code == "OP0904"
    assert "did you mean `force`?" in text(found)
    assert "it takes 2: `a`, `force`" in found.message


@pytest.mark.parametrize(
    ("inputs", "named", "words"),
    [
        (1, (), "missing input `force`"),
        (0, (), "missing inputs `a`, `force`"),
        (3, (), "3 inputs given, `Two` takes 2: `a`, `force`"),
        (2, ("a",), "input `a` is given twice, by its place and by its name"),
    ],
)
def test_missing_surplus_and_doubled_inputs_are_named(inputs, named, words):
    x = torch.zeros(1, 1, 9)
    found = refusal(two(), *[x] * inputs, **dict.fromkeys(named, x))
    assert found.code == "OP0904"
    assert found.message.startswith(words)


@pytest.mark.parametrize(
    ("value", "cure"),
    [
        (np.zeros((1, 1, 8, 8)), "`torch.from_numpy(a)`"),
        ([0.0], "`torch.tensor(a)`"),
        ({"a": 0}, "`model(**inputs)`"),
        (None, "give a torch tensor"),
    ],
)
def test_what_is_no_tensor_is_named(value, cure):
    found = refusal(one(), value)
    assert found.code == "OP0904"
    assert "input `a` is not a tensor but " in found.message
    assert cure in text(found)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64, torch.uint8])
def test_numbers_that_are_not_real_floats_are_refused(dtype):
    found = refusal(one(), torch.zeros(1, 1, 8, 8, dtype=dtype))
    assert found.code == "OP0905"
    assert f"holds {str(dtype)[6:]} numbers" in found.message


def test_double_data_in_a_single_model_may_be_cured_on_either_side():
    found = refusal(one(), torch.zeros(1, 1, 8, 8, dtype=torch.float64))
    assert found.message == "input `a` holds float64 numbers, the model float32"
    cures = ["convert the input: `a.float()`", "or the model: `model.double()`"]
    assert [x.text for x in found.helps] == cures


def test_autocast_allows_what_it_casts_and_nothing_else():
    module, x = one(), torch.zeros(1, 1, 8, 8)
    assert refusal(module, x.bfloat16()).code == "OP0905"
    with torch.autocast("cpu", torch.bfloat16):
        assert module(x.bfloat16()).dtype == torch.bfloat16
        assert refusal(module, x.double()).code == "OP0905"


def test_a_model_without_weights_takes_any_real_format_but_one():
    p = Writer(a=Space(domain=line(), channels=1), b=Space(domain=line(), channels=1))
    module = lower(p.graph("Joined", {"u": p.node("u", Join(), "a", "b")}))
    x = torch.zeros(1, 1, 9)
    assert module(x.double(), x.double()).dtype == torch.float64
    assert refusal(module, x, x.double()).code == "OP0905"


def test_a_tensor_on_another_device_is_refused():
    found = refusal(one(), torch.zeros(1, 1, 8, 8, device="meta"))
    assert found.code == "OP0905"
    assert found.message == "input `a` is on meta, the model on cpu"


def test_two_inputs_on_one_domain_have_one_size():
    found = refusal(two(), torch.zeros(1, 1, 9), torch.zeros(1, 2, 10))
    assert found.code == "OP0906"
    assert "`D` has 9 points from `a`, `force` has 10" in found.message


def test_batches_that_differ_are_refused_and_one_for_all_is_offered():
    found = refusal(two(), torch.zeros(3, 1, 9), torch.zeros(1, 2, 9))
    assert found.code == "OP0906"
    assert "`a` has 3 samples, `force` 1" in found.message
    assert "`force.expand(3, ...)`" not in text(found)
    assert "`force.expand(3, -1, -1)`" in text(found)


def test_a_diagnostic_points_to_the_line_of_the_input():
    found = refusal(lower(ports(fourier())), torch.zeros(1, 1, 8, 8))
    assert found.primary is not None
    assert found.primary.span.line == 1
    assert found.primary.text == "declared here: `D -> R^1`"


def test_a_signature_is_checked_once(monkeypatch):
    module = one()
    calls = []
    check = module.guards.check
    monkeypatch.setattr(module.guards, "check", lambda *x: (calls.append(x), check(*x)))
    for _ in range(3):
        module(torch.zeros(1, 1, 8, 8))
    module(torch.zeros(2, 1, 8, 8))
    assert len(calls) == 2


def test_a_refused_call_leaves_the_model_as_it_was():
    module = one()
    refusal(module, torch.zeros(1, 2, 8, 8))
    assert not module.calls
    assert isinstance(module, OperatorModule)
    assert isinstance(module.graph, Graph)


STATES = """edition 2026
model M {
  domain D = grid(x: 0..1, boundary = periodic, min = 4)
  input u : D -> R^1
  input force : D -> R^1
  input state : D / 2 -> R^3
  output v : D -> R^1
  output new : D / 2 -> R^3
  feedback v -> u
  feedback new -> state

  wide = concat(u, force) |> linear(out = 3)
  new = state + resample(wide, to = D / 2)
  v = resample(new, to = D) |> linear(out = 1)
}"""


def test_states_that_are_left_out_are_zero():
    module = opdsl.compile(STATES)
    u, force, zero = torch.randn(2, 1, 8), torch.randn(2, 1, 8), torch.zeros(2, 3, 4)
    wanted = module(u, force, zero)
    for found in (module(u, force), module(force=force, u=u), module(u, force, None)):
        for name, value in wanted.items():
            torch.testing.assert_close(found[name], value)
    times = module.rollout(3, u, force)
    torch.testing.assert_close(times["v"], module.rollout(3, u, force, zero)["v"])


def test_what_is_predicted_and_what_acts_is_no_state():
    """An input that the first output comes back to is data: nobody means zero by leaving it out."""
    module, x = opdsl.compile(STATES), torch.randn(2, 1, 8)
    assert refusal(module, force=x).message == "missing input `u`"
    assert refusal(module, x).message == "missing input `force`"
    assert refusal(module, state=torch.zeros(2, 3, 4)).message == "missing inputs `u`, `force`"
    assert "input `u` is not a tensor" in refusal(module, None, x).message
