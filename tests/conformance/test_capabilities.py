"""What a block says of its module, against the layers of that module."""

import pytest

from opdsl.nn.capabilities import LimitsModes, NarrowsSpectrum
from tests.conformance.test_blocks import CASES, Case

every_case = pytest.mark.parametrize("case", CASES, ids=str)


@every_case
def test_layers_limit_modes_where_the_block_says_so(case: Case):
    layers = list(case.module().modules())
    assert case.block.limits_modes == any(isinstance(x, LimitsModes) for x in layers)
    assert case.block.narrows_spectrum == any(isinstance(x, NarrowsSpectrum) for x in layers)


@pytest.mark.parametrize("case", [c for c in CASES if c.block.commutative], ids=str)
def test_a_commutative_block_does_not_depend_on_the_order_of_its_inputs(case: Case):
    assert len(case.spaces) == 2
    assert case.block.infer(*case.spaces) == case.block.infer(*case.spaces[::-1])
