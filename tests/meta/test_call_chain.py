"""How many functions a value passes through on its way from the text to a kernel."""

import pytest

from tools.call_chain import trace

MOST = {"modes": 28, "radius": 18, "precision": 13}
ENDS = {
    "modes": "nn.spectral.convolve.convolve_dft",
    "radius": "nn.points.neighbours.search.search",
    "precision": "train.engine.precision._policy",
}


@pytest.mark.parametrize("name", MOST)
def test_a_value_takes_few_steps_from_the_text_to_a_kernel(name):
    chain = trace(name)
    names = [str(x) for x in chain.hops]
    assert len(names) <= MOST[name], "\n".join(names)
    assert len(chain.upward) <= 1
    assert names[0].startswith("syntax.")
    assert ENDS[name] in names  # else the value was lost on the way
