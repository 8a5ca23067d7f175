"""Each block states how many of its weights are complex, as `summary` tells them."""

import pytest
import torch
from torch.overrides import TorchFunctionMode

from tests.conformance.test_blocks import CASES, on_one_axis


class Pairs(TorchFunctionMode):
    """Remembers the storages that were viewed as complex numbers."""

    def __init__(self):
        super().__init__()
        self.storages = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.view_as_complex:
            self.storages.add(args[0].untyped_storage().data_ptr())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("case", on_one_axis(CASES), ids=str)
def test_a_block_states_which_of_its_weights_are_complex(case):
    """The oracle: parameters that are complex, or that the module reads as pairs."""
    module, pairs = case.module(), Pairs()
    for kernel in case.block.kernels or (None,):
        with pairs:
            case.run(module, case.inputs(), kernel)
    stored = [x for x in module.parameters() if x.untyped_storage().data_ptr() in pairs.storages]
    read = sum(x.numel() // 2 for x in stored)
    read += sum(x.numel() for x in module.parameters() if x.is_complex())
    assert case.block.complex_weights(*case.spaces) == read
