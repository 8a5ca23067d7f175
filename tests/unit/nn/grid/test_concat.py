import torch

from opdsl.nn import Concat, concat


def test_concat_repeats_a_batch_of_one():
    a, b = torch.zeros(3, 4, 2), torch.ones(1, 4, 1)
    assert concat([a, b]).shape == (3, 4, 3)
    assert torch.equal(Concat()(a, b)[2, :, 2], torch.ones(4))
