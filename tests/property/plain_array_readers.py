"""Readers of arrays that lie in files as NumPy, torch and HDF5 write them, with good files."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import torch
from safetensors.torch import save_file
from torch.utils.data import TensorDataset

from tests.property.array_readers import read_arrays
from tests.property.reader import Reader

VALUES = np.random.default_rng(1).standard_normal((4, 3, 5))


def plain_array_readers(folder: Path) -> tuple[Reader, ...]:
    """Every reader, with its good files in `folder`."""
    home = folder / "plain arrays"
    home.mkdir()
    return (
        Reader("npy arrays", _npys(home), read_arrays),
        Reader("npz arrays", _npzs(home), read_arrays),
        Reader("pt arrays", _pts(home), read_arrays),
        Reader("safetensors arrays", _safetensors(home), read_arrays),
        Reader("hdf5 arrays", _hdf5s(home), read_arrays),
    )


def _npys(home: Path) -> tuple[Path, ...]:
    paths = home / "plain.npy", home / "fortran.npy"
    np.save(paths[0], VALUES.astype(">f4"))
    np.save(paths[1], np.asfortranarray(VALUES))
    return paths


def _npzs(home: Path) -> tuple[Path, ...]:
    paths = home / "stored.npz", home / "deflated.npz"
    np.savez(paths[0], u=VALUES, n=np.arange(3))
    np.savez_compressed(paths[1], u=VALUES, flags=VALUES > 0)
    return paths


def _pts(home: Path) -> tuple[Path, ...]:
    x = torch.from_numpy(VALUES)
    values = (
        {"x": x, "nu": 0.5, "deep": {"half": x.bfloat16(), "view": x[1:, ::2]}},
        TensorDataset(x, x.float()),
        [{"x": x}, {"x": x[:2]}],
        (x, x.mT),
    )
    paths = []
    for i, value in enumerate(values):
        for zipped in (True, False):
            paths.append(home / f"{i}{zipped}.pt")
            torch.save(value, paths[-1], _use_new_zipfile_serialization=zipped)
    return tuple(paths)


def _safetensors(home: Path) -> tuple[Path, ...]:
    x = torch.from_numpy(VALUES)
    save_file({"x": x, "half": x.bfloat16()}, home / "a.safetensors", {"unit": "K"})
    return (home / "a.safetensors",)


def _hdf5s(home: Path) -> tuple[Path, ...]:
    paths = home / "groups.h5", home / "scales.nc", home / "matlab.mat"
    with h5py.File(paths[0], "w") as file:
        for i in range(3):
            file.create_dataset(f"{i:04d}/data", data=VALUES, chunks=(1, 3, 5), compression="gzip")
        file["text"] = ["a", "b"]
        file["link"] = h5py.SoftLink("/0000/data")
        file["nowhere"] = h5py.SoftLink("/absent")
    with h5py.File(paths[1], "w") as file:
        file["lat"], file["lon"] = np.arange(3.0), np.arange(5.0)
        file["t2m"] = (VALUES * 100).astype("i2")
        file["t2m"].attrs.update(scale_factor=0.01, add_offset=1.0, _FillValue=np.int16(-1))
        for axis, name in ((1, "lat"), (2, "lon")):
            file[name].make_scale(name)
            file["t2m"].dims[axis].attach_scale(file[name])
        file.attrs["_NCProperties"] = "version=2"
    with h5py.File(paths[2], "w", userblock_size=512) as file:
        file["u"] = VALUES
        file["u"].attrs["MATLAB_class"] = np.bytes_(b"double")
    with paths[2].open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(116))
    return paths
