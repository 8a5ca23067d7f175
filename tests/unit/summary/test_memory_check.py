"""What cannot fit is refused by its number before anything is allocated."""

from types import SimpleNamespace

import pytest
import torch

import opdsl
from opdsl import OpError
from opdsl.summary.memory_check import refuse_too_large
from opdsl.train.optimizers import OPTIMIZERS
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


@pytest.mark.parametrize("kind", OPTIMIZERS.names())
def test_the_state_of_an_optimizer_has_the_numbers_that_its_entry_declares(kind):
    entry = OPTIMIZERS.find(kind)
    weight = torch.nn.Parameter(torch.ones(1000))
    weight.grad = torch.ones(1000)
    settings = SimpleNamespace(lr=0.1, betas=(0.9, 0.99), weight_decay=0.0, momentum=0.9)
    optimizer = entry.build([weight], settings)
    optimizer.step()
    state = [x for x in optimizer.state[weight].values() if x.numel() == 1000]
    assert len(state) == entry.moments
