"""One thread and one module for every test of training."""

import pytest
import torch
from toy_problem import Toy


@pytest.fixture
def toy():
    torch.manual_seed(7)
    return Toy()


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
