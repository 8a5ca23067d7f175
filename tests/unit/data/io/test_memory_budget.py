"""Sound data that do not fit are never called damaged."""

import numpy as np
import pytest

from opdsl.data.arrays.containers.admission import damage
from opdsl.data.io import memory_budget
from opdsl.data.io.dataset import open_dataset
from opdsl.data.io.hdf5 import safe_h5
from opdsl.data.io.memory_budget import TooLargeError
from opdsl.data.io.pairs import reading
from opdsl.diagnostics import OpError

ERRORS = [
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"),
    OSError(12, "Cannot allocate memory"),
    OSError("Unable to synchronously read data (memory allocation failed for chunk)"),
]
GUARDS = {
    "HDF5": lambda: safe_h5._damage("a.h5"),
    "arrays": lambda: damage("a.npy", "NumPy"),
    "pairs": lambda: reading("a.pt", "torch"),
}


@pytest.mark.parametrize("guard", GUARDS.values(), ids=GUARDS)
@pytest.mark.parametrize("error", ERRORS, ids=[type(x).__name__ for x in ERRORS])
def test_a_library_without_memory_does_not_mean_a_damaged_file(guard, error):
    with pytest.raises(TooLargeError) as caught, guard():
        raise error
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "OP0610"
    assert "not enough memory" in diagnostic.message


@pytest.mark.parametrize("guard", GUARDS.values(), ids=GUARDS)
def test_other_errors_do(guard):
    with pytest.raises(OpError, match="damaged"), guard():
        raise OSError(5, "Input/output error")


def test_a_file_that_does_not_fit_says_how_it_can_be_read_batch_by_batch(tmp_path, monkeypatch):
    x = np.zeros((64, 16, 16))
    np.savez_compressed(tmp_path / "a.npz", x=x, y=x)
    monkeypatch.setattr(memory_budget, "free_memory", lambda: 100_000)
    with pytest.raises(TooLargeError) as caught:
        open_dataset(tmp_path / "a.npz")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.message == "the file would take 256 KiB, and there is room for 48.8 KiB"
    assert "opdsl data convert" in diagnostic.helps[1].text
