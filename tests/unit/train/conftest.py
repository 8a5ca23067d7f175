"""One thread and one seed for every test of training."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _same_each_time():
    torch.set_num_threads(1)
    torch.manual_seed(7)
