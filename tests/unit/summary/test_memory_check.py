"""What cannot fit is refused by its number before anything is allocated."""

import pytest

import opdsl
from opdsl import OpError
from opdsl.summary.memory_check import refuse_too_large
from tests.programs import model


def test_a_model_larger_than_the_memory_is_refused_before_its_weights_are_made():
    wide = "linear(out = 10000000)"
    text = model(f"output u : D -> R^2\nu = a |> {wide} |> {wide} |> linear(out = 2)")
    with pytest.raises(OpError) as caught:
        opdsl.compile(text)
    assert caught.value.diagnostics[0].code == "OP0630"


def test_the_refusal_names_what_is_needed_and_what_is_free():
    with pytest.raises(OpError) as caught:
        refuse_too_large("M", {"weights": 3 << 30}, free=1 << 30)
    found = caught.value.diagnostics[0]
    assert found.code == "OP0630"
    assert found.message == "`M` needs at least 3.0 GiB, and 1.0 GiB are free"
