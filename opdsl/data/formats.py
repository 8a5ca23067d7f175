"""`open_dataset`: one door for every kind of data file, which it knows by its content.

What comes in: a path as the user wrote it. What goes out: `Fields`. A file is untrusted: opening
it runs no code, reads no other file and makes nothing larger than it stores.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from opdsl.data import pairs, well
from opdsl.data.coarsen import Resolution
from opdsl.data.raw import Raw
from opdsl.data.samples import Fields
from opdsl.data.suspects import suspects
from opdsl.diagnostics import OpError, did_you_mean, fault

SPLITS = ("train", "valid", "test")
SUFFIXES = (".h5", ".hdf5")
HDF5 = b"\x89HDF\r\n\x1a\n"
HDF5_STARTS = (0, 512, 1024, 2048)  # a user block of a power of two may come first
PEEK = HDF5_STARTS[-1] + len(HDF5)

Read = Callable[[Path, str, Resolution | None, int | None], Raw]


def open_dataset(
    path: str | PathLike[str],
    *,
    split: str | None = None,
    resolution: Resolution | None = None,
    samples: int | None = None,
) -> Fields:
    """The fields of a data set.

    Args:
        path: a file (The Well's HDF5; a dictionary with `x` and `y` in .pt or .npz), or a folder
            `NAME` with `NAME/data/{train,valid,test}/*.hdf5`.
        split: which part of a folder, `train` if not given; a single file has no parts.
        resolution: keep every k-th point only; one integer stands for all axes.
        samples: keep the first ones only.

    Raises:
        OpError: OP0604 less than one sample; OP0610 nothing readable, or fewer samples than asked
            for; OP0614 no such resolution; OP0615 the file points outside itself.
    """
    source = str(path)
    if samples is not None and samples < 1:
        raise fault("OP0604", f"{samples} samples were asked for; at least one is needed")
    files = _files(Path(path), split, source)
    raws = _read_all(files, source, resolution, samples)
    first = raws[0]
    values = {k: _joined([r.values[k] for r in raws]) for k in first.values}
    return Fields(
        name=first.name,
        values=values,
        roles=first.roles,
        axes=first.axes,
        resolution=tuple(next(iter(values.values())).shape[2:]),
        suspects=suspects(values, first.roles),
        source=source,
        fingerprint=fingerprint(values),
        layout=first.layout,
    )


def fingerprint(values: dict[str, Tensor]) -> str:
    """SHA-256 of the names, number formats, shapes and bytes of fields, whatever their order."""
    digest = hashlib.sha256()
    for name in sorted(values):
        x = values[name].contiguous()
        digest.update(f"{name}|{x.dtype}|{tuple(x.shape)}|".encode())
        digest.update(x.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _read_all(
    files: Sequence[Path], source: str, resolution: Resolution | None, samples: int | None
) -> list[Raw]:
    """As many files as the samples need, each like the first."""
    raws: list[Raw] = []
    got = 0
    for file in files:
        name = source if len(files) == 1 else str(file)
        left = None if samples is None else samples - got
        raws.append(_reader(file, name)(file, name, resolution, left))
        _same(raws[0], raws[-1], name)
        got += _count(raws[-1])
        if samples is not None and got >= samples:
            return raws
    if samples is not None or not got:
        asked = f"{samples} were asked for" if samples else "at least one is needed"
        raise fault("OP0610", f"the data hold {got} samples, {asked}", file=source)
    return raws


def _same(first: Raw, other: Raw, source: str) -> None:
    """Files of one set have the same fields on the same grid."""
    for what, a, b in (
        ("fields", _shapes(first), _shapes(other)),
        ("roles", first.roles, other.roles),
        ("axes", first.axes, other.axes),
    ):
        if a != b:
            raise fault(
                "OP0610",
                f"the {what} differ from those of the first file of the set",
                notes=(f"here {b}, there {a}",),
                file=source,
            )


def _shapes(raw: Raw) -> dict[str, tuple[int, ...]]:
    return {k: tuple(x.shape[1:]) for k, x in raw.values.items()}


def _count(raw: Raw) -> int:
    return len(next(iter(raw.values.values())))


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _files(path: Path, split: str | None, source: str) -> tuple[Path, ...]:
    """The files that make up a data set, in the order of their names."""
    try:
        if path.is_dir():
            return _in_folder(path, split, source)
        kind = "file" if path.is_file() else "special file" if path.exists() else None
    except OSError as error:
        raise _unopened(error, source) from error
    if kind is None:
        raise _nothing_there(path, source)
    if kind != "file":
        raise _unreadable("it is neither a file nor a folder", source)
    if split is not None:
        raise _unreadable(
            f"a single file has no part `{split}`", source, "name the file of that part itself"
        )
    return (path,)


def _in_folder(path: Path, split: str | None, source: str) -> tuple[Path, ...]:
    own = _hdf5(path)
    if own and split is None:
        return own
    for home in (path / "data", path):
        there = {s: files for s in SPLITS if (files := _hdf5(home / s))}
        if there and (wanted := split or next(iter(there))) in there:
            return there[wanted]
        if there:
            raise _unreadable(
                f"the folder has no part `{wanted}`, only {', '.join(there)}",
                source,
                *did_you_mean(wanted, there),
            )
    raise _unreadable(
        "no data in this folder",
        source,
        "expected NAME/data/train/*.hdf5 (and valid, test), or the path of one file",
    )


def _hdf5(folder: Path) -> tuple[Path, ...]:
    if not folder.is_dir():
        return ()
    return tuple(sorted(f for f in folder.iterdir() if f.suffix in SUFFIXES and f.is_file()))


def _reader(path: Path, source: str) -> Read:
    """Which reader a file needs, by its first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(PEEK)
        if any(head[i : i + len(HDF5)] == HDF5 for i in HDF5_STARTS):
            return well.read
        if head.startswith(b"PK\x03\x04"):
            return _zipped(path, source)
    except OSError as error:
        raise _unopened(error, source) from error
    if head.startswith((b"\x80\x02", b"\x80\x04", b"\x80\x05")):
        return pairs.read_pt
    raise _unreadable(_met(head), source)


def _zipped(path: Path, source: str) -> Read:
    try:
        with zipfile.ZipFile(path) as held:
            names = held.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _unreadable("the file is damaged or incomplete", source) from error
    if any(n.endswith("data.pkl") for n in names):
        return pairs.read_pt
    if names and all(n.endswith(".npy") for n in names):
        return pairs.read_npz
    raise _unreadable("it is a zip archive without tensors or arrays", source)


def _met(head: bytes) -> str:
    """What a file that we cannot read seems to be."""
    known = {
        b"": "the file is empty",
        b"\x93NUMPY": "it is a single NumPy array: save input and output with numpy.savez(x=, y=)",
        b"MATLAB 5.0": "it is a MATLAB file: save its arrays with numpy.savez(x=, y=)",
        b"CDF\x01": "it is a NetCDF 3 file",
        b"CDF\x02": "it is a NetCDF 3 file",
        b"\x1f\x8b": "it is compressed with gzip: unpack it first",
    }
    if not head:
        return known[b""]
    found = (text for magic, text in known.items() if magic and head.startswith(magic))
    return next(found, f"the format is unknown (it begins with {head[:8]!r})")


def _nothing_there(path: Path, source: str) -> OpError:
    near: tuple[str, ...] = ()
    if path.parent.is_dir():
        near = did_you_mean(path.name, (f.name for f in path.parent.iterdir()))
    return fault("OP0610", "there is no such file or folder", helps=near or _READABLE, file=source)


_READABLE = (
    "HDF5 as The Well lays it out (.hdf5, .h5, or a folder of them) can be read",
    "a dictionary with `x` and `y` saved by torch (.pt) or numpy.savez (.npz) can be read",
)


def _unopened(error: OSError, source: str) -> OpError:
    return _unreadable(f"it cannot be opened: {error.strerror or error}", source)


def _unreadable(message: str, source: str, *helps: str) -> OpError:
    return fault("OP0610", message, helps=helps or _READABLE, file=source)
