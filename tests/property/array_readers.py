"""Readers of named arrays with good files to damage."""

from __future__ import annotations

import zipfile
from pathlib import Path

import meshio
import numpy as np
import pyvista
import scipy.io
import zarr

from opdsl.data.arrays.reading import open_arrays
from opdsl.data.io.dataset import open_dataset
from tests.property.reader import Reader

VALUES = np.random.default_rng(0).standard_normal((4, 3, 5))
SMALL = 1 << 20  # entries of an array that is read whole


def array_readers(folder: Path) -> tuple[Reader, ...]:
    """Every reader of named arrays, with its good files in `folder`."""
    home = folder / "arrays"
    home.mkdir()
    stores, archives = _stores(home)
    surfaces, grids = _surfaces(home), _grids(home)
    return (
        Reader("mat arrays", _mats(home), read_arrays),
        Reader("netcdf-3 arrays", _netcdfs(home), read_arrays),
        Reader("zarr arrays", stores, read_arrays, ("**/*",)),
        Reader("zipped zarr arrays", archives, read_arrays),
        Reader("mesh arrays", (*surfaces, *_meshes(home)), read_arrays),
        Reader("grid arrays", grids, read_arrays),
        Reader("surfaces", surfaces, open_dataset),
    )


def read_arrays(path: Path) -> None:
    """A part of each array, and all of it where it is small."""
    with open_arrays(path, str(path)) as file:
        for name, info in file.arrays.items():
            assert len(info.axes) in {0, len(info.shape)}
            index = (slice(0, 2),) * len(info.shape)
            assert file.read(name, index).dtype == info.dtype
            if np.prod(info.shape, dtype=float) <= SMALL:
                assert file.read(name).shape == info.shape


def _mats(home: Path) -> tuple[Path, ...]:
    paths = home / "plain.mat", home / "deflated.mat"
    held = {"u": VALUES, "n": np.arange(3), "s": {"x": 1.0}, "t": "text"}
    for path, compressed in zip(paths, (False, True), strict=True):
        scipy.io.savemat(path, held, do_compression=compressed)
    return paths


def _netcdfs(home: Path) -> tuple[Path, ...]:
    paths = home / "classic.nc", home / "wide.nc"
    for version, path in enumerate(paths, 1):
        with scipy.io.netcdf_file(path, "w", version=version) as file:
            for name, length in (("time", None), ("lat", 3), ("lon", 5)):
                file.createDimension(name, length)
            file.createVariable("t2m", "f4", ("time", "lat", "lon"))[:] = VALUES
            packed = file.createVariable("packed", "i2", ("time", "lat"))
            packed.scale_factor, packed.add_offset, packed.missing_value = 0.5, 1.0, 3
            packed[:] = np.arange(12).reshape(4, 3)
    return paths


def _stores(home: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Stores of both versions, and archives of them."""
    stores, archives = [], []
    for version in (2, 3):
        path = home / f"v{version}.zarr"
        root = zarr.create_group(path, zarr_format=version, attributes={"title": "made"})
        root.create_array("u", data=VALUES, chunks=(2, 3, 5))
        root.create_array("g/n", data=np.arange(6), chunks=(4,), compressors=None)
        stores.append(path)
        archives.append(home / f"v{version}.zip")
        with zipfile.ZipFile(archives[-1], "w") as archive:
            for x in sorted(path.rglob("*")):
                if x.is_file():
                    archive.write(x, x.relative_to(path))
    return tuple(stores), tuple(archives)


def _surfaces(home: Path) -> tuple[Path, ...]:
    paths = []
    for binary in (True, False):
        for ending in ("vtp", "vtk"):
            surface = pyvista.Sphere(theta_resolution=4, phi_resolution=4)
            surface.point_data["p"] = np.arange(surface.n_points, dtype=float)
            paths.append(home / f"surface{binary}.{ending}")
            surface.save(paths[-1], binary=binary)
    return tuple(paths)


def _grids(home: Path) -> tuple[Path, ...]:
    lines = [np.arange(n, dtype=float) for n in VALUES.shape]
    kinds = {
        "vti": pyvista.ImageData(dimensions=VALUES.shape),
        "vtr": pyvista.RectilinearGrid(*lines),
        "vts": pyvista.StructuredGrid(*np.meshgrid(*lines, indexing="ij")),
    }
    paths = []
    for ending, grid in kinds.items():
        grid.point_data["u"] = VALUES.ravel(order="F")
        paths += [home / f"grid.{ending}", home / f"{ending}.vtk", home / f"{ending}_text.vtk"]
        for path in paths[-3:]:
            grid.save(path, binary="text" not in path.name)
    return tuple(paths)


def _meshes(home: Path) -> tuple[Path, ...]:
    paths = home / "mesh.vtu", home / "mesh.ply"
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0.5]])
    for path in paths:
        meshio.Mesh(points, [("triangle", [[0, 1, 2]])]).write(path)
    return paths
