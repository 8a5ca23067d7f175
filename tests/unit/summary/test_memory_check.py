"""What cannot fit is refused by its number before anything is allocated."""

import pytest
import torch

import opdsl
from opdsl import OpError
from opdsl.summary.memory_check import refuse_too_large
from opdsl.train.config.optimization import Optimizer
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
    weight = torch.nn.Parameter(torch.randn(25, 40))
    settings = Optimizer(kind=kind, lr=0.1, weight_decay=0.0, history=3)
    optimizer = entry.build([weight], settings)

    def closure():
        optimizer.zero_grad()
        loss = (weight**4).sum()
        loss.backward()
        return loss

    if entry.repeats:
        optimizer.step(closure)
    else:
        closure()
        optimizer.step()
    state = [x for x in _tensors(optimizer.state_dict()) if x.numel() == 1000]
    assert len(state) == entry.numbers(settings)


def _tensors(state):
    """Yield the tensors in nested states."""
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, dict | list | tuple):
        for x in state.values() if isinstance(state, dict) else state:
            yield from _tensors(x)
