"""A slice of a large file takes memory for the slice, in a process of its own."""

import json
import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch

ROWS, WIDTH = 200, 64 * 1024  # 100 MiB of float64
MOST = 40 << 20  # bytes, for a slice of 4 MiB

# memory of files that are mapped counts too: the peak of the resident set
READ = """
import json, resource, sys
from pathlib import Path
from opdsl.data.arrays.reading import open_arrays

def peak():
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(x.split()[1]) << 10 for x in status if x.startswith("VmHWM"))

path, small = Path(sys.argv[1]), Path(sys.argv[2])
index = (slice(8, 200, 24), slice(0, 65536, 1))
thin = (slice(0, 64), slice(0, 65536, 16))
with open_arrays(small, "small") as file:
    for name in file.arrays:
        file.read(name, (slice(0, 2),))
before = peak()
with open_arrays(path, "large") as file:
    (name,) = file.arrays
    shapes = [file.read(name, index).shape, file.read(name, thin).shape]
    total = float(file.read(name, index)[0, 0])
print(json.dumps([peak() - before, shapes, total]))
"""


def write(path, ending, rows):
    x = np.zeros((rows, WIDTH))
    x[:] = np.arange(rows)[:, None]
    if ending == "npy":
        np.save(path, x)
    elif ending == "npz":
        np.savez(path, x=x)
    elif ending == "deflated.npz":
        np.savez_compressed(path, x=x)
    elif ending == "fortran.npy":
        np.save(path, np.asfortranarray(x))
    elif ending == "pt":
        torch.save({"x": torch.from_numpy(x)}, path)
    else:
        chunks = {"h5": None, "chunks.h5": (1, WIDTH)}[ending]
        with h5py.File(path, "w") as file:
            file.create_dataset("x", data=x, chunks=chunks)


@pytest.mark.skipif(sys.platform != "linux", reason="it measures with /proc")
@pytest.mark.parametrize(
    "ending",
    [
        "pt",
        "chunks.h5",
        *(pytest.param(x, marks=pytest.mark.slow) for x in ("npy", "npz", "deflated.npz")),
        *(pytest.param(x, marks=pytest.mark.slow) for x in ("fortran.npy", "h5")),
    ],
)
def test_a_slice_takes_memory_for_the_slice(tmp_path, ending):
    large, small = tmp_path / f"large.{ending}", tmp_path / f"small.{ending}"
    write(large, ending, ROWS)
    write(small, ending, 4)
    command = [sys.executable, "-c", READ, str(large), str(small)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    more, shapes, first = json.loads(done.stdout)
    large.unlink()
    assert shapes == [[8, WIDTH], [64, WIDTH // 16]]
    assert first == 8.0
    assert more < MOST
