"""Checkpoints that survive a kill, a full disk and a flipped bit.

`checkpoints/step-00001234/` holds `state.pt` (tensors and plain values, read with
`weights_only=True`) and `MANIFEST.json` with its SHA-256. Both are written into a folder under
another name on the same file system, synced, and the folder is renamed; what has no good manifest
does not exist. Without the hash, `torch.load` returns changed tensors for one flipped bit in two.
`best-00001234/` is the same with only what `predict` needs.
"""

import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from opdsl.diagnostics import fault
from opdsl.files import sync_folder, write_synced

FOLDER = "checkpoints"
STATE = "state.pt"
MANIFEST = "MANIFEST.json"
FORMAT = 1

State = dict[str, Any]
Note = Callable[[str], None]
Kind = Literal["step", "best"]


@dataclass(frozen=True, slots=True)
class Store:
    """The checkpoints of a run.

    Attributes:
        run: the run's folder.
        keep: how many of a kind stay on the disk.
    """

    run: Path
    keep: int = 2

    @property
    def folder(self) -> Path:
        """Where they stand."""
        return self.run / FOLDER

    def save(self, state: State, step: int, kind: Kind = "step") -> Path:
        """Write a checkpoint, then remove those that are too old.

        Raises:
            OSError: it could not be written; the earlier ones are untouched.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self.folder / f".tmp-{kind}-{step:08d}-{os.getpid()}"
        try:
            _fill(beside, _packed(state))
            target = beside.rename(self._free_name(kind, step))
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        sync_folder(self.folder)
        self._prune(kind)
        return target

    def load(self, kind: Kind = "step", note: Note | None = None) -> State | None:
        """The newest checkpoint that is whole, or None if there never was one.

        Args:
            kind: of which kind.
            note: is told of every damaged one that is passed over.

        Raises:
            OpError: OP0621, there are checkpoints, and all are damaged.
        """
        damaged = []
        for path in self.found(kind):
            try:
                return read(path)
            except CheckpointError as reason:
                damaged.append(path)
                if note:
                    note(f"the checkpoint {path.name} is damaged ({reason}); trying an older one")
        if not damaged:
            return None
        names = ", ".join(p.name for p in damaged)
        message = f"every checkpoint of the run is damaged: {names}"
        helps = ("restore one from a backup, or train again with another `--out`",)
        raise fault("OP0621", message, file=str(self.run), helps=helps)

    def found(self, kind: Kind = "step") -> list[Path]:
        """The checkpoints of a kind, newest first, whole or not."""
        if not self.folder.is_dir():
            return []
        named = ((_NAME.fullmatch(p.name), p) for p in self.folder.iterdir())
        ranked = [(int(m[2]), int(m[3] or 0), p) for m, p in named if m and m[1] == kind]
        return [p for _, _, p in sorted(ranked, reverse=True)]

    def sweep(self) -> None:
        """Remove what an interrupted writer left; only for the owner of the lock."""
        if self.folder.is_dir():
            for path in self.folder.glob(".tmp-*"):
                shutil.rmtree(path, ignore_errors=True)

    def _free_name(self, kind: Kind, step: int) -> Path:
        """A name not yet taken: replacing a folder is not one atomic act, adding one is."""
        names = (f"{kind}-{step:08d}{end}" for end in _endings())
        return next(p for p in map(self.folder.joinpath, names) if not p.exists())

    def _prune(self, kind: Kind) -> None:
        keep = self.keep if kind == "step" else 1
        for path in self.found(kind)[keep:]:
            # renamed first: a kill must not leave half a checkpoint under a good name
            gone = path.with_name(f".tmp-gone-{path.name}")
            path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)


class CheckpointError(Exception):
    """A checkpoint is not as it was written; the text says in what."""


def read(path: Path) -> State:
    """The state in the checkpoint `path`, after its hash has been compared.

    Raises:
        CheckpointError: anything is missing or differs.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        data = (path / STATE).read_bytes()
        expected = manifest["files"][STATE]["sha256"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError("its files or its manifest cannot be read") from error
    if hashlib.sha256(data).hexdigest() != expected:
        raise CheckpointError("its content is not what was written")
    return _unpacked(data)


_NAME = re.compile(r"(step|best)-([0-9]+)(?:-([0-9]+))?")


def _endings() -> Iterator[str]:
    """Nothing, then -1, -2 ...: an interrupted and a finished epoch may share a step."""
    yield ""
    n = 0
    while True:
        n += 1
        yield f"-{n}"


def _packed(state: State) -> bytes:
    buffer = io.BytesIO()  # the hash must be of what we meant to write
    torch.save(state, buffer)
    return buffer.getvalue()


def _unpacked(data: bytes) -> State:
    try:
        state: State = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever its parts raise
        raise CheckpointError("torch cannot read its content") from error
    return state


def _fill(folder: Path, data: bytes) -> None:
    """A folder with state and manifest, the manifest last, all on the disk."""
    folder.mkdir()
    write_synced(folder / STATE, data)
    entry = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest = {"format": FORMAT, "torch": torch.__version__, "files": {STATE: entry}}
    write_synced(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    sync_folder(folder)
