"""The tensors of a file of `torch.save` by their places in the file, without torch reading it.

`safe_pt.inspect` first admits the pickle: it names nothing but tensors, storages, plain collections
and, where that is allowed, `TensorDataset`. Then its instructions are run with stand-ins for these
names; no name in it is ever imported.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from opdsl.data.arrays.containers.stored import BFLOAT16, Stored, member_offset
from opdsl.data.arrays.containers.strided import Strided
from opdsl.safe_pt import LEGACY_PICKLES, TENSOR_DATASET, UnsafeFileError, inspect

COUNT = 8  # bytes of the number of entries before each storage, in files of torch before 1.6
STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
    "ComplexDoubleStorage": "c16",
    "ComplexFloatStorage": "c8",
}
DTYPES = {"uint16": "u2", "uint32": "u4", "uint64": "u8"}  # of storages without a number format
BRAIN = {"BFloat16Storage", "bfloat16"}
UNREADABLE = np.dtype("V1")  # 8-bit floats and other formats that NumPy lacks


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor in the pickle.

    Attributes:
        key: name of its storage.
        kind: name of the type of the storage, or of the dtype of the tensor.
        start: entries of the storage before the first one.
        shape: entries on each axis.
        strides: entries of the storage from one entry to the next on each axis.
    """

    key: str
    kind: str
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __setstate__(self, state: object) -> None:
        """Ignore Python attributes of the tensor."""


@dataclass(frozen=True, slots=True)
class Pickled:
    """The contents of a file.

    Attributes:
        contents: dictionaries, lists, tuples, `Dataset`, numbers and texts, with `Tensor` as
            leaves.
        big_endian: whether numbers begin with their highest byte.
        storages: key -> where each storage lies, as bytes.
    """

    contents: Any
    big_endian: bool
    storages: Mapping[str, Stored]

    def place(self, tensor: Tensor) -> Stored:
        """Return where a tensor lies in the file.

        Raises:
            UnsafeFileError: it lies outside its storage.
        """
        storage = self.storages.get(tensor.key)
        text = STORAGES.get(tensor.kind) or DTYPES.get(tensor.kind)
        dtype = np.dtype(">" * self.big_endian + text) if text else UNREADABLE
        if tensor.kind in BRAIN:
            dtype = BFLOAT16 if not self.big_endian else UNREADABLE
        ranks = len(tensor.shape) == len(tensor.strides)
        if storage is None or not ranks or min((tensor.start, *tensor.strides)) < 0:
            raise UnsafeFileError("a tensor does not fit its storage")
        size = dtype.itemsize
        first = storage.place.offset + size * tensor.start
        place = Strided(first, dtype, tensor.shape, tuple(size * n for n in tensor.strides))
        if min(tensor.shape, default=0) < 0 or place.end > storage.place.end:
            raise UnsafeFileError("a tensor shows more numbers than are stored")
        sealed = (place.offset, place.end) == (storage.place.offset, storage.place.end)
        return Stored(place, storage.member, storage.offset, sealed)


def read_pickled(file: IO[bytes], largest: int) -> Pickled:
    """Read the structure of a file of `torch.save`; values stay where they are.

    Args:
        file: open for reading bytes.
        largest: bytes that its records may have.

    Raises:
        UnsafeFileError: it is damaged, or holds more than plain collections of dense tensors.
    """
    inspect(file, largest, datasets=True)
    file.seek(0)
    return _zipped(file) if zipfile.is_zipfile(file) else _legacy(file)


def _zipped(file: IO[bytes]) -> Pickled:
    with zipfile.ZipFile(file) as archive:
        entries = {x.filename: x for x in archive.infolist()}
        content = next(x for x in entries if x == "data.pkl" or x.endswith("/data.pkl"))
        folder = content.removesuffix("data.pkl")
        order = entries.get(f"{folder}byteorder")
        big = order is not None and order.file_size == 3 and archive.read(order) == b"big"
        run = _Interpreter()
        contents = run.run(io.BytesIO(archive.read(content)))
        storages = {}
        for key in run.sizes:
            entry = entries[f"{folder}data/{key}"]
            whole = Strided(0, np.dtype("u1"), (entry.file_size,), (1,))
            storages[key] = Stored(whole, entry.filename, member_offset(file, entry))
    return Pickled(contents, big, storages)


def _legacy(file: IO[bytes]) -> Pickled:
    """Read a file of torch before 1.6: five pickles, then the storages one after the other."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    parts: list[Any] = []
    sizes: dict[str, int] = {}
    for _ in range(LEGACY_PICKLES):
        run = _Interpreter()
        parts.append(run.run(file))
        sizes |= run.sizes
    machine, contents, keys = parts[2:]
    big = isinstance(machine, dict) and machine.get("little_endian") is False
    start = file.tell()
    storages: dict[str, Stored] = {}
    for key in map(str, keys):
        start += COUNT
        storages[key] = Stored(Strided(start, np.dtype("u1"), (sizes[key],), (1,)))
        start += sizes[key]
    if start > size:
        raise UnsafeFileError("its tensors have more numbers than are stored")
    return Pickled(contents, big, storages)


# --- the pickle, run with stand-ins -------------------------------------------------------------


class Dataset:
    """The tensors of a `TensorDataset`."""

    tensors: tuple[Tensor, ...] = ()

    def __setstate__(self, state: Any) -> None:
        """Take the attributes, which must be those of a `TensorDataset`.

        Raises:
            UnsafeFileError: they are others.
        """
        if not isinstance(state, dict) or set(state) != {"tensors"}:
            raise UnsafeFileError("a data set has other attributes than its tensors")
        parts = state["tensors"]
        if not isinstance(parts, tuple) or not all(isinstance(x, Tensor) for x in parts):
            raise UnsafeFileError("a data set holds more than tensors")
        self.tensors = parts


class _Dictionary(dict[Any, Any]):
    """An `OrderedDict`, whose Python attributes are left out."""

    def __setstate__(self, state: object) -> None:
        """Ignore attributes, such as the versions of the modules of a state dict."""


@dataclass(frozen=True, slots=True)
class _Name:
    """A name of the pickle that stands for itself: a type of storage, a number format."""

    name: str

    def __call__(self, *_: object) -> _Name:
        """Stand for what the function would make: a device or a layout."""
        return self


@dataclass(frozen=True, slots=True)
class _Storage:
    kind: str
    key: str


CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
EMPTY = {"EMPTY_DICT": _Dictionary, "EMPTY_LIST": list}


class _Interpreter:
    """Runs the instructions of an inspected pickle with stand-ins; no name is imported.

    Attributes:
        sizes: key -> bytes of each storage.
    """

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, file: IO[bytes]) -> Any:
        """Run one pickle, and leave the file behind its end."""
        self.stack, self.marks, self.memo = [], [], {}
        for op, argument, _ in pickletools.genops(file):
            self._step(op.name, argument)
        return self.stack.pop()

    def _step(self, op: str, argument: Any) -> None:  # noqa: C901  a table of cases
        match op:
            case "PROTO" | "STOP" | "FRAME":
                pass
            case "MARK":
                self.marks.append(self.stack)
                self.stack = []
            case "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "GLOBAL":
                name = argument.rpartition(" ")[2]
                self.stack.append(STAND_INS.get(argument, _Name(name)))
            case "TUPLE":
                parts = tuple(self._marked())  # first, since it changes the stack
                self.stack.append(parts)
            case "APPEND" | "APPENDS":
                items = self._marked() if op == "APPENDS" else [self.stack.pop()]
                self.stack[-1].extend(items)
            case "SETITEM" | "SETITEMS":
                items = self._marked() if op == "SETITEMS" else self._popped(2)
                self.stack[-1].update(zip(items[::2], items[1::2], strict=True))
            case "BINPERSID":
                self.stack.append(self._storage(self.stack.pop()))
            case "REDUCE" | "NEWOBJ":
                function, arguments = self._popped(2)
                self.stack.append(function(*arguments))
            case "BUILD":
                state = self.stack.pop()
                self.stack[-1].__setstate__(state)
            case _:
                self._plain(op, argument)

    def _plain(self, op: str, argument: Any) -> None:
        if op in TUPLES:
            self.stack.append(tuple(self._popped(TUPLES[op])))
        elif op in EMPTY:
            self.stack.append(EMPTY[op]())
        else:  # numbers and texts, which are their arguments
            self.stack.append(CONSTANTS.get(op, argument))

    def _marked(self) -> list[Any]:
        parts, self.stack = self.stack, self.marks.pop()
        return parts

    def _popped(self, count: int) -> list[Any]:
        parts = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return parts

    def _storage(self, description: Any) -> _Storage:
        """Describe a storage: ("storage", type, key, device, entries, ...)."""
        _, kind, key, _, count, *_ = description
        name = key.decode("ascii", "replace") if isinstance(key, bytes) else str(key)
        size = np.dtype(STORAGES.get(kind.name, "u1")).itemsize
        if kind.name in BRAIN:
            size = BFLOAT16.itemsize
        self.sizes[name] = max(self.sizes.get(name, 0), size * count)
        return _Storage(kind.name, name)


def _tensor(storage: Any, start: Any, shape: Any, strides: Any, *_: object) -> Tensor:
    numbers = (start, *shape, *strides)
    if not isinstance(storage, _Storage) or not all(type(x) is int for x in numbers):
        raise UnsafeFileError("a tensor does not fit its storage")
    return Tensor(storage.key, storage.kind, start, tuple(shape), tuple(strides))


def _tensor_of_dtype(
    storage: Any, start: Any, shape: Any, strides: Any, _grad: Any, _hooks: Any, dtype: Any,
    *_: object,
) -> Tensor:  # fmt: skip
    """Make a tensor whose storage is bytes; its start and strides count numbers."""
    plain = _tensor(storage, start, shape, strides)
    kind = dtype.name if isinstance(dtype, _Name) else ""
    return Tensor(plain.key, kind, plain.start, plain.shape, plain.strides)


def _parameter(tensor: Any, *_: object) -> Any:
    return tensor


def _encode(text: str, encoding: str) -> bytes:
    """Make the bytes that Python 2 pickles as text."""
    if encoding != "latin1":
        raise UnsafeFileError(f"a text is encoded in {encoding}")
    return text.encode("latin-1")


STAND_INS: dict[str, Any] = {
    "collections OrderedDict": _Dictionary,
    "torch._utils _rebuild_tensor": _tensor,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_tensor_v3": _tensor_of_dtype,
    "torch._utils _rebuild_parameter": _parameter,
    "torch Size": tuple,
    "builtins complex": complex,
    "_codecs encode": _encode,
    TENSOR_DATASET: Dataset,
}
