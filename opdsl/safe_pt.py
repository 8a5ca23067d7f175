"""Checks of untrusted files of `torch.save` before torch reads them.

`weights_only=True` keeps a pickle from running code. It does not keep a small one from taking the
time and memory of the machine: a tuple of a tuple of a tuple as the key of a dictionary takes 2^n
steps to hash, a function such as `bytearray` allocates memory that no byte of the file holds, a
compressed record or a storage may declare any size. So the zip directory is compared with the
file, and each pickle is run once with shadows in place of values, which knows the plain subset
that our own files and data sets need. Everything outside that subset is refused.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

DEFLATE = 1032  # deflate makes no data smaller than by this factor
SLACK = 1 << 10  # bytes of a record that may be stored in none
MOST_RECORDS = 1_000_000
LARGEST_KEY = 16  # leaves of a tuple that is the key of a dictionary
DEEPEST = 100  # collections inside each other
LEGACY_PICKLES = 5  # magic number, protocol, machine, content, keys of the storages
ZIP = b"PK\x03\x04"

# functions that take time and memory in proportion to the bytes in the file
CALLS = frozenset(
    {
        "collections OrderedDict",
        "torch._utils _rebuild_tensor",
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_tensor_v3",
        "torch._utils _rebuild_parameter",
        "torch.serialization _get_layout",
        "torch Size",
        "torch device",
        "builtins complex",
        "builtins set",
        "_codecs encode",
    }
)
TENSORS = frozenset(x for x in CALLS if "_rebuild_" in x)
TENSOR_DATASET = "torch.utils.data.dataset TensorDataset"
SIZES = {
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
    "ComplexDoubleStorage": 16,
    "ComplexFloatStorage": 8,
    "UntypedStorage": 1,
}


class UnsafeFileError(ValueError):
    """A file is damaged or outside the plain subset that is read; the text says why."""


def load_tensors(file: IO[bytes], largest: int, *, stand_ins: bool = False) -> Any:
    """Load the contents of a file of `torch.save` onto the CPU.

    Args:
        file: open for reading bytes.
        largest: bytes that its tensors may take.
        stand_ins: allow functions and classes that torch does not know; the caller has given torch
            something harmless in their place.

    Raises:
        UnsafeFileError: it is damaged, declares more than it holds or than `largest`, or needs more
            than dictionaries, lists, tuples, numbers, texts and dense tensors.
    """
    import torch

    inspect(file, largest, stand_ins=stand_ins)
    file.seek(0)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    # torch and what it calls raise a dozen types, depending on which byte is broken
    except Exception as error:
        raise UnsafeFileError(_first_line(error)) from error


def inspect(
    file: IO[bytes], largest: int, *, stand_ins: bool = False, datasets: bool = False
) -> None:
    """Refuse a file that torch cannot read in time and memory in proportion to its size.

    Args:
        file: as for `load_tensors`.
        largest: as for `load_tensors`.
        stand_ins: as for `load_tensors`.
        datasets: allow a `TensorDataset`, whose tensors are plain data; torch itself does not.

    Raises:
        UnsafeFileError: as `load_tensors`.
    """
    shadows = _Shadows(stand_ins=stand_ins, datasets=datasets)
    file.seek(0)
    start = file.read(len(ZIP))
    file.seek(0)
    try:
        if start == ZIP:
            _inspect_zip(file, largest, shadows)
        else:
            _inspect_legacy(file, largest, shadows)
    except UnsafeFileError:
        raise
    # zipfile, pickletools and struct raise whatever they meet in a damaged file
    except Exception as error:
        raise UnsafeFileError(f"the file is damaged: {_first_line(error)}") from error


def inspect_zip(file: zipfile.ZipFile, size: int) -> None:
    """Refuse an archive whose directory declares what the file cannot hold.

    Args:
        file: the archive.
        size: bytes of its file.

    Raises:
        UnsafeFileError: entries overlap, are compressed beyond what is possible, or share a name.
    """
    entries = file.infolist()
    if len(entries) > MOST_RECORDS or len({x.filename for x in entries}) < len(entries):
        raise UnsafeFileError("the archive has too many records, or two of one name")
    if sum(x.compress_size for x in entries) > size:
        raise UnsafeFileError("the records of the archive overlap")
    for x in entries:
        most = x.compress_size
        if x.compress_type != zipfile.ZIP_STORED:
            most = DEFLATE * x.compress_size + SLACK
        if x.file_size > most:
            raise UnsafeFileError(f"`{x.filename}` declares {x.file_size:,} bytes it lacks")


def _inspect_zip(file: IO[bytes], largest: int, shadows: _Shadows) -> None:
    size = file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        inspect_zip(archive, size)
        entries = {x.filename: x for x in archive.infolist()}
        if (total := sum(x.file_size for x in entries.values())) > largest:
            raise UnsafeFileError(f"it holds {total:,} bytes, and there is room for {largest:,}")
        names = [x for x in entries if x.endswith("/data.pkl") or x == "data.pkl"]
        if len(names) != 1:
            raise UnsafeFileError("the archive is not one of torch.save")
        folder = names[0].removesuffix("data.pkl")
        with archive.open(names[0]) as content:
            shadows.run(io.BytesIO(content.read()))
        for key, nbytes in shadows.storages.items():
            entry = entries.get(f"{folder}data/{key}")
            if entry is None or nbytes > entry.file_size:
                raise UnsafeFileError(f"the storage `{key}` has more bytes than are stored")


def _inspect_legacy(file: IO[bytes], largest: int, shadows: _Shadows) -> None:
    """Check a file of torch before 1.6: five pickles, then the storages one after the other."""
    size = file.seek(0, io.SEEK_END)
    if size > largest:
        raise UnsafeFileError(f"it has {size:,} bytes, and there is room for {largest:,}")
    file.seek(0)
    for _ in range(LEGACY_PICKLES):
        shadows.run(file)
    if sum(shadows.storages.values()) > size - file.tell():
        raise UnsafeFileError("its tensors have more numbers than are stored")


# --- the pickle, run with shadows ---------------------------------------------------------------


@dataclass(slots=True)
class _Shadow:
    """The type and size of a value on the stack of the pickle, without the value itself.

    Attributes:
        kind: dict, list, set, tuple, text, number, name, tensor, data set or other.
        depth: how many collections are inside each other.
        leaves: number of leaves of the value as a tree, which hashing visits one by one.
        value: the value of a text, whole number or name; the parts of a short tuple; else None.
    """

    kind: str
    depth: int = 0
    leaves: int = 1
    value: Any = None


NUMBER = _Shadow("number")
NUMBERS = frozenset(
    {"NONE", "NEWTRUE", "NEWFALSE", "BINFLOAT", "LONG", "LONG4", "FLOAT", "INT", "LONG1"}
)
TEXTS = frozenset({"BINUNICODE", "SHORT_BINSTRING", "SHORT_BINUNICODE", "SHORT_BINBYTES"})
WHOLE = frozenset({"BININT", "BININT1", "BININT2"})
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
EMPTY = {"EMPTY_DICT": "dict", "EMPTY_LIST": "list", "EMPTY_SET": "set"}


@dataclass(slots=True)
class _Shadows:
    """An interpreter of pickles whose values are shadows.

    Attributes:
        stand_ins: whether unknown functions may be called.
        datasets: whether a `TensorDataset` may be made.
        storages: key -> bytes of each storage that tensors use.
    """

    stand_ins: bool
    datasets: bool = False
    storages: dict[str, int] = field(default_factory=dict)
    stack: list[_Shadow] = field(default_factory=list)
    marks: list[list[_Shadow]] = field(default_factory=list)
    memo: dict[int, _Shadow] = field(default_factory=dict)

    def run(self, file: IO[bytes]) -> None:
        """Run one pickle and leave the file behind its end."""
        self.stack, self.marks, self.memo = [], [], {}
        for op, argument, _ in _opcodes(file):
            self._step(op, argument)

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
                self.stack.append(_Shadow("name", value=argument))
            case "TUPLE":
                self._tuple(self._marked())
            case "EMPTY_TUPLE":
                self._tuple([])
            case "APPEND" | "SETITEM" | "APPENDS" | "SETITEMS":
                self._fill(op)
            case "BINPERSID":
                self._storage(self.stack.pop())
            case "REDUCE" | "NEWOBJ" | "BUILD":
                self._call(op)
            case _:
                self._plain(op, argument)

    def _plain(self, op: str, argument: Any) -> None:
        if op in NUMBERS:
            self.stack.append(NUMBER)
        elif op in TEXTS:
            self.stack.append(_Shadow("text", value=argument))
        elif op in WHOLE:
            self.stack.append(_Shadow("number", value=argument))
        elif op in TUPLES:
            count = TUPLES[op]
            parts = self.stack[-count:]
            del self.stack[-count:]
            self._tuple(parts)
        elif op in EMPTY:
            self.stack.append(_Shadow(EMPTY[op], depth=1))
        else:
            raise UnsafeFileError(f"the pickle has the instruction {op}, which is not read")

    def _marked(self) -> list[_Shadow]:
        parts, self.stack = self.stack, self.marks.pop()
        return parts

    def _tuple(self, parts: list[_Shadow]) -> None:
        shadow = _Shadow("tuple", leaves=1 + sum(x.leaves for x in parts))
        shadow.value = parts if len(parts) <= LARGEST_KEY else None
        self._hold(shadow, parts)
        self.stack.append(shadow)

    def _hold(self, home: _Shadow, parts: list[_Shadow]) -> None:
        home.depth = max(home.depth, 1 + max((x.depth for x in parts), default=0))
        if home.depth > DEEPEST:
            raise UnsafeFileError("its collections are too deeply nested")

    def _fill(self, op: str) -> None:
        if op.endswith("S"):
            parts = self._marked()
        else:
            count = 1 if op == "APPEND" else 2
            parts = self.stack[-count:]
            del self.stack[-count:]
        home = self.stack[-1]
        if op.startswith("SETITEM"):
            for key in parts[::2]:
                _refuse_key(key)
        # collections that hold `home` keep their depth: a cycle would have none
        self._hold(home, parts)

    def _storage(self, shadow: _Shadow) -> None:
        """Record the bytes of a storage; its tuple is ("storage", type, key, place, count, ...)."""
        parts = shadow.value if shadow.kind == "tuple" and shadow.value else []
        if len(parts) < 5:
            raise UnsafeFileError("a tensor has no storage")
        storage_type, key, count = parts[1].value, parts[2].value, parts[4].value
        size = SIZES.get(str(storage_type).rpartition(" ")[2])
        if size is None or not isinstance(count, int) or not isinstance(key, str | bytes):
            raise UnsafeFileError("a storage is of no kind that is read")
        name = key.decode("ascii", "replace") if isinstance(key, bytes) else key
        self.storages[name] = max(self.storages.get(name, 0), size * count)
        self.stack.append(_Shadow("storage"))

    def _call(self, op: str) -> None:
        arguments = self.stack.pop()
        if op == "BUILD":
            if self.stack[-1].kind not in {"dict", "tensor", "data set", "stand-in"}:
                raise UnsafeFileError("it holds more than tensors and plain values")
            return
        function = self.stack.pop()
        name = str(function.value) if function.kind == "name" else ""
        if self.datasets and op == "NEWOBJ" and name == TENSOR_DATASET and arguments.value == []:
            self.stack.append(_Shadow("data set", depth=1))
            return
        if name in CALLS:
            self._refuse_arguments(name, arguments)
        elif not self.stand_ins or not name or _is_torch(name):
            if name.startswith("torch._utils _rebuild_"):
                raise UnsafeFileError("it holds what is not a dense tensor of real numbers")
            dotted = name.replace(" ", ".") or "a value"
            raise UnsafeFileError(f"it calls `{dotted}`, which is not read")
        kind = "tensor" if name in TENSORS else "dict" if name.endswith("OrderedDict") else "set"
        self.stack.append(_Shadow(kind if name in CALLS else "stand-in", depth=1))

    def _refuse_arguments(self, name: str, arguments: _Shadow) -> None:
        """Refuse arguments of a known function that it could hash or copy at great cost."""
        parts = arguments.value if arguments.kind == "tuple" else None
        if parts is None:
            raise UnsafeFileError(f"it calls `{name}` with what are no arguments")
        if name in TENSORS:
            return
        if name == "collections OrderedDict" and parts:
            raise UnsafeFileError("a dictionary is not written as torch.save writes it")
        if name == "builtins set":
            raise UnsafeFileError("it holds a set, which is not read")


def _opcodes(file: IO[bytes]) -> Iterator[tuple[str, Any, int | None]]:
    """Iterate over the instructions of one pickle; at the end the file is behind it."""
    for op, argument, place in pickletools.genops(file):
        yield op.name, argument, place


def _refuse_key(key: _Shadow) -> None:
    """Refuse keys that are costly to hash: hashing visits every repeated part of a tuple."""
    if key.kind not in {"text", "number", "tuple", "name"} or key.leaves > LARGEST_KEY:
        raise UnsafeFileError("the key of a dictionary is no text, number or short tuple")


def _is_torch(name: str) -> bool:
    """Whether a name is in a module that torch resolves itself, so that no stand-in is used."""
    return name.partition(" ")[0].partition(".")[0] in {"torch", "builtins", "collections"}


def _first_line(error: BaseException) -> str:
    text = str(error).strip().split("\n", 1)[0].split(" (1) ", 1)[0]
    return text or type(error).__name__
