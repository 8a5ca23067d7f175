"""Checkpoints that survive a kill, a full disk and a flipped bit.

`checkpoints/step-00001234/` holds `state.pt` (tensors and plain values, read with
`weights_only=True`) and `MANIFEST.json` with its SHA-256. Both are written into a folder under
another name on the same file system, synced, and the folder is renamed; what has no good manifest
does not exist. Without the hash, `torch.load` returns changed tensors for one flipped bit in two.
`best-00001234/` has the part of a state that `predict` needs. Where processes divide the tensors
among them, files of safetensors stand beside `state.pt`, which has the rest: see `sharded`. A
checkpoint may come from a stranger, whose hashes are right whatever they wrote: see
`opdsl.safe_pt`.
"""

import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from opdsl.diagnostics import OpError, fault
from opdsl.files import (
    TEMPORARY,
    read_json,
    sync_folder,
    temporary_name,
    write_folder,
    write_whole,
)
from opdsl.memory import free_memory
from opdsl.safe_pt import UnsafeFileError, load_tensors
from opdsl.train.run.folder import CHECKPOINTS
from opdsl.train.run.sharded.files import WrittenFile
from opdsl.train.run.sharded.layout import LayoutError, StoredTensor
from opdsl.train.run.sharded.whole import (
    READ_ERRORS,
    TENSORS,
    insert,
    read_verified,
    read_whole,
)

STATE = "state.pt"
MANIFEST = "MANIFEST.json"
FORMAT = 1
SHARDED_FORMAT = 2  # of a manifest that lists tensors
LARGEST_MANIFEST = 64 << 20  # bytes
# exceptions of state parts that have another type or size than the run expects
FOREIGN = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError)

State = dict[str, Any]
Note = Callable[[str], None]
CheckpointKind = Literal["step", "best"]


@dataclass(frozen=True, slots=True)
class CheckpointStore:
    """The checkpoints of a run on the disk.

    Attributes:
        run: the run's folder.
        keep: how many of a kind stay on the disk.
    """

    run: Path
    keep: int = 2

    @property
    def folder(self) -> Path:
        """The folder of all checkpoints."""
        return self.run / CHECKPOINTS

    def save(self, state: State, step: int, kind: CheckpointKind = "step") -> Path:
        """Write a checkpoint, then remove those that are too old.

        Raises:
            OSError: it could not be written; the earlier ones are untouched.
        """
        return self.write(packed(state), step, kind)

    def write(self, data: bytes, step: int, kind: CheckpointKind = "step") -> Path:
        """Write a checkpoint of a `packed` state, as `save`.

        Raises:
            OSError: it could not be written; the earlier ones are untouched.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self._free_name(kind, step)
        write_folder(target, _files(data))
        self._prune(kind)
        return target

    def publish(
        self,
        staging: Path,
        data: bytes,
        tensors: Sequence[StoredTensor],
        shards: Sequence[WrittenFile],
        step: int,
        kind: CheckpointKind = "step",
    ) -> Path:
        """Make a checkpoint of a folder with shards, then remove those that are too old.

        Args:
            staging: the folder; it holds files of tensors that are on the disk.
            data: the rest of the state, `packed`.
            tensors: the table of the tensors in the files.
            shards: the files.
            step, kind: of the checkpoint.

        Raises:
            OSError: it could not be written; the earlier ones are untouched.
        """
        target = self._free_name(kind, step)
        for name, content in _files(data, tensors, shards).items():
            write_whole(staging / name, content)
        sync_folder(staging)
        staging.rename(target)
        sync_folder(self.folder)
        self._prune(kind)
        return target

    def load(
        self, kind: CheckpointKind = "step", note: Note | None = None, *, values: bool = False
    ) -> State | None:
        """Load the newest undamaged checkpoint; None if there never was one.

        Args:
            kind: of which kind.
            note: is told of every damaged one that is passed over.
            values: whether tensors that several processes have written are left out.

        Raises:
            OpError: OP0621, there are checkpoints, and all are damaged.
        """
        damaged = []
        for path in self.paths(kind):
            try:
                return read_values(path) if values else read(path)
            except CheckpointError as reason:
                damaged.append(path)
                if note:
                    note(f"the checkpoint {path.name} is damaged ({reason}); trying an older one")
        if not damaged:
            return None
        raise all_damaged(self.run, [p.name for p in damaged])

    def paths(self, kind: CheckpointKind = "step") -> list[Path]:
        """List the checkpoints of a kind, newest first, damaged ones too."""
        if not self.folder.is_dir():
            return []
        matches = ((_NAME.fullmatch(p.name), p) for p in self.folder.iterdir())
        candidates = [(int(m[2]), int(m[3] or 0), p) for m, p in matches if m and m[1] == kind]
        return [p for _, _, p in sorted(candidates, reverse=True)]

    def sweep(self) -> None:
        """Remove what an interrupted writer left; only for the owner of the lock."""
        if self.folder.is_dir():
            for path in self.folder.glob(f"{TEMPORARY}*"):
                shutil.rmtree(path, ignore_errors=True)

    def _free_name(self, kind: CheckpointKind, step: int) -> Path:
        """Return the first free name: adding a folder is atomic, replacing one is not."""
        names = (f"{kind}-{step:08d}{end}" for end in _endings())
        return next(p for p in map(self.folder.joinpath, names) if not p.exists())

    def _prune(self, kind: CheckpointKind) -> None:
        keep = self.keep if kind == "step" else 1
        for path in self.paths(kind)[keep:]:
            # renamed first: a kill must not leave half a checkpoint under a good name
            gone = path.with_name(temporary_name())
            path.rename(gone)
            sync_folder(self.folder)
            shutil.rmtree(gone, ignore_errors=True)


class CheckpointError(Exception):
    """A checkpoint differs from what was written; the text says how."""


def read(path: Path) -> State:
    """Read the state in the checkpoint `path`, after comparing its hashes; tensors are whole.

    Raises:
        CheckpointError: anything is missing or differs.
    """
    manifest = read_manifest(path)
    state = read_values(path, manifest)
    if manifest.get(TENSORS):
        with damage():
            insert(state, read_whole(path, manifest))
    return state


def read_manifest(path: Path) -> Mapping[str, Any]:
    """Read the manifest of a checkpoint.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    with damage():
        manifest = read_json(path / MANIFEST, LARGEST_MANIFEST)
        if not isinstance(manifest, dict) or not isinstance(manifest["files"], dict):
            raise TypeError("the manifest is no table of files")
        return manifest


def read_values(path: Path, manifest: Mapping[str, Any] | None = None) -> State:
    """Read the part of a state that is in `state.pt`: all but the tensors of shards.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    with damage():
        files = (read_manifest(path) if manifest is None else manifest)["files"]
        shards = {name: x["bytes"] for name, x in files.items() if name != STATE}
        if any((path / name).stat().st_size != size for name, size in shards.items()):
            raise LayoutError("a file has another size than was written")
        data = read_verified(path / STATE, files[STATE])
    return _unpacked(data)


@contextmanager
def damage() -> Iterator[None]:
    """Turn exceptions of reading files into `CheckpointError`."""
    try:
        yield
    except LayoutError as error:
        raise CheckpointError(str(error)) from error
    except READ_ERRORS as error:
        raise CheckpointError("its files or its manifest cannot be read") from error


def all_damaged(run: Path, names: Sequence[str]) -> OpError:
    """Return the OP0621 for a run whose checkpoints are all damaged."""
    message = f"every checkpoint of the run is damaged: {', '.join(names)}"
    helps = ("restore one from a backup, or train again with another `--out`",)
    return fault("OP0621", message, file=str(run), helps=helps)


_NAME = re.compile(r"(step|best)-([0-9]+)(?:-([0-9]+))?")


def _endings() -> Iterator[str]:
    """Yield suffixes: none, -1, -2 ...; an interrupted and a finished epoch may share a step."""
    yield ""
    n = 0
    while True:
        n += 1
        yield f"-{n}"


def packed(state: State) -> bytes:
    """Return the content of `state.pt`."""
    buffer = io.BytesIO()  # hash the bytes in memory, so that a bad write is noticed
    torch.save(state, buffer)
    return buffer.getvalue()


def _unpacked(data: bytes) -> State:
    try:
        state = load_tensors(io.BytesIO(data), free_memory() // 2)
    except UnsafeFileError as error:
        raise CheckpointError(str(error)) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"it holds a {type(state).__name__}, no state")
    return state


def _files(
    data: bytes, tensors: Sequence[StoredTensor] = (), shards: Sequence[WrittenFile] = ()
) -> dict[str, bytes]:
    """Return the contents of the state and the manifest by file name, the manifest last."""
    files = {STATE: WrittenFile(STATE, len(data), hashlib.sha256(data).hexdigest()).to_json()}
    files |= {x.name: x.to_json() for x in shards}
    form = SHARDED_FORMAT if shards else FORMAT
    manifest: dict[str, Any] = {"format": form, "torch": torch.__version__, "files": files}
    if shards:
        manifest[TENSORS] = [x.to_json() for x in tensors]
    indent = None if shards else 1  # a table of a thousand processes has a million numbers
    return {STATE: data, MANIFEST: json.dumps(manifest, indent=indent).encode()}


@contextmanager
def malformed(run: Path) -> Iterator[None]:
    """Turn exceptions that a state of other content raises in the block into OP0621.

    A checkpoint of a stranger has a good hash and may lack any part, or have one of another type.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except FOREIGN as error:
        detail = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise _malformed(run, detail) from error


def refuse_malformed(state: State, run: Path) -> None:
    """Refuse weights that `predict` cannot use: of other types, or not finite.

    Raises:
        OpError: OP0621.
    """
    for part in ("module", "normaliser"):
        tensors = state.get(part)
        if not isinstance(tensors, Mapping) or not all(
            isinstance(k, str) and isinstance(x, Tensor) for k, x in tensors.items()
        ):
            raise _malformed(run, f"`{part}` is no table of tensors")
        for name, x in tensors.items():
            if not bool(torch.isfinite(x).all()):
                message = f"the weights of the run hold NaN or infinite values, first in `{name}`"
                helps = ("take other weights (`--last`), or train again",)
                raise fault("OP0621", message, file=str(run), helps=helps)
    complete = all(k in state and isinstance(state[k], int | None) for k in ("epoch", "step"))
    if not complete or not isinstance(state.get("meta"), Mapping):
        raise _malformed(run, "`epoch`, `step` or `meta` is missing or of another type")


def _malformed(run: Path, detail: str) -> OpError:
    message = "the content of the checkpoint is not that of a run"
    helps = ("restore the run from a backup, or train again with another `--out`",)
    return fault("OP0621", message, notes=(detail,), file=str(run), helps=helps)
