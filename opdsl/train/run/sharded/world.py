"""Checkpoints of a run in several processes: written in the background, agreed on by all.

Where every process has all weights, the first one writes the file of a run in one process; where
`fully_shard` has divided them, each writes its part. Both load in a world of any size.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.distributed.tensor import DTensor, distribute_tensor

from opdsl.train.run.checkpoint import (
    CheckpointError,
    CheckpointKind,
    CheckpointStore,
    Note,
    State,
    all_damaged,
    damage,
    packed,
    read,
    read_manifest,
    read_values,
)
from opdsl.train.run.saving import SaveResult, StateLayouts, undivided
from opdsl.train.run.sharded.files import sha256_of
from opdsl.train.run.sharded.layout import LayoutError, StatePath, StoredTensor
from opdsl.train.run.sharded.shared_folder import refuse_separate_folders
from opdsl.train.run.sharded.storage import ShardReader, ShardWriter
from opdsl.train.run.sharded.whole import READ_ERRORS, insert, tensors_of

RANDOM = "random"
RANDOM_BY_RANK = "random_by_rank"  # where generators of processes differ

T = TypeVar("T")


@dataclass(slots=True)
class WorldCheckpoints:
    """Saves and loads the checkpoints of a run in all of its processes.

    All processes call the methods at the same steps. One save is under way at a time, in a thread
    with a process group of its own; `settle` waits for it.

    Attributes:
        store: the checkpoints on the disk, in a folder that all processes see.
        group: of all processes, for exchanges between CPUs, which nobody else uses.
    """

    store: CheckpointStore
    group: dist.ProcessGroup
    _thread: ThreadPoolExecutor = field(init=False)
    _pending: _Pending | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Make the thread that writes."""
        self._thread = ThreadPoolExecutor(1, "checkpoint")

    @classmethod
    def of(cls, store: CheckpointStore, group: dist.ProcessGroup) -> WorldCheckpoints:
        """Return those of a group of processes, which all of them call.

        Raises:
            OpError: OP0840, the run folder is another one for some processes.
        """
        refuse_separate_folders(store.run, group)
        return cls(store, group)

    @property
    def rank(self) -> int:
        """The place of this process among all."""
        return dist.get_rank(self.group)

    # ------------------------------------------------------------------------------------- saving

    def save(self, state: State, step: int, kind: CheckpointKind = "step") -> list[SaveResult]:
        """Copy a state and write it in the background, after the one before is on the disk.

        Args:
            state: of this process; values that are not divided count in the first process.
            step, kind: of the checkpoint.

        Returns:
            The result of the checkpoint before.
        """
        results = self.settle()
        values, tensors = separate(state)
        if RANDOM in values:
            values |= self._random_states(values[RANDOM])
        data = packed(values) if self.rank == 0 else b""
        if tensors:
            self._pending = self._write_shards(data, tensors, step, kind)
        else:
            future = self._thread.submit(self._write_whole, data, step, kind)
            self._pending = _Pending(step, kind, future)
        return results

    def settle(self) -> list[SaveResult]:
        """Wait until the checkpoint under way is on the disk, or has failed, in all processes."""
        if self._pending is None:
            return []
        pending, self._pending = self._pending, None
        result = pending.result()
        if result.reason is not None and pending.writer is not None:
            pending.writer.discard()
        return [result]

    def close(self) -> None:
        """Wait for the checkpoint under way, whatever becomes of it: the run ends."""
        if self._pending is not None:
            self._pending.future.exception()
        self._thread.shutdown()

    def _write_whole(self, data: bytes, step: int, kind: CheckpointKind) -> Path | None:
        """Write the state in the first process and tell the others how it went.

        Raises:
            OSError: it could not be written.
        """
        outcome: list[Any] = [None]
        if self.rank == 0:
            try:
                outcome = [self.store.write(data, step, kind)]
            except OSError as error:
                outcome = [error]
        dist.broadcast_object_list(outcome, group_src=0, group=self.group)
        if isinstance(outcome[0], OSError):
            raise outcome[0]
        return Path(outcome[0])

    def _write_shards(
        self, data: bytes, tensors: Mapping[StatePath, Tensor], step: int, kind: CheckpointKind
    ) -> _Pending:
        """Write the part of this process in the background."""
        paths = {_name(path): path for path in tensors}
        writer = ShardWriter(self.store.folder, paths)
        if self.rank == 0:
            writer.publish = lambda staging, table, files: self.store.publish(
                staging, data, table, files, step, kind
            )
        planner = DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
        future = async_save(
            {_name(path): x for path, x in tensors.items()},
            storage_writer=writer,
            planner=planner,
            process_group=self.group,
        )
        assert isinstance(future, Future), "copies are made at once"
        return _Pending(step, kind, future, writer)

    def _random_states(self, own: Mapping[str, Any]) -> State:
        """Return the states of the generators of all processes, where they differ."""
        if self.rank == 0:
            states: list[Any] = [None] * dist.get_world_size(self.group)
            dist.gather_object(own, states, group=self.group, group_dst=0)
            if any(packed(dict(x)) != packed(dict(own)) for x in states):
                return {RANDOM_BY_RANK: states}
            return {}
        dist.gather_object(own, None, group=self.group, group_dst=0)
        return {}

    # ------------------------------------------------------------------------------------ loading

    def load(
        self,
        kind: CheckpointKind = "step",
        note: Note | None = None,
        layouts: StateLayouts = undivided,
    ) -> State | None:
        """Load the newest checkpoint that is undamaged for all processes; None if there is none.

        Args:
            kind: of which kind.
            note: is told of every damaged one that is passed over.
            layouts: how this run divides tensors.

        Raises:
            OpError: OP0621, there are checkpoints, and all are damaged.
        """
        names: list[Any] = [[x.name for x in self.store.paths(kind)]]
        dist.broadcast_object_list(names, group_src=0, group=self.group)
        damaged = []
        for name in names[0]:
            try:
                return self._own_random(self._read(self.store.folder / name, layouts))
            except CheckpointError as reason:
                damaged.append(name)
                if note:
                    note(f"the checkpoint {name} is damaged ({reason}); trying an older one")
        if not damaged:
            return None
        raise all_damaged(self.store.run, damaged)

    def _own_random(self, state: State) -> State:
        """Give each process its own generators, if the world has as many as the state."""
        states = state.pop(RANDOM_BY_RANK, None)
        if isinstance(states, list) and len(states) == dist.get_world_size(self.group):
            state[RANDOM] = states[self.rank]
        return state

    def _read(self, path: Path, layouts: StateLayouts) -> State:
        """Read a checkpoint, divided as this run divides its tensors.

        Raises:
            CheckpointError: a process cannot read it.
        """
        state, table = self._agreed(lambda: self._values(path, layouts))
        if table:
            tensors = {x.path: _target(x, layouts(x.path)) for x in table}
            self._read_shards(path, table, tensors)
            self._agreed(lambda: insert(state, tensors))
        return divide(state, layouts)

    def _values(self, path: Path, layouts: StateLayouts) -> tuple[State, list[StoredTensor]]:
        """Return what every process reads whole, and the table of the tensors to be divided.

        The processes share the work of comparing hashes.
        """
        manifest = read_manifest(path)
        with damage():
            table = tensors_of(manifest)
            if not any(_divides(layouts(x.path), x) for x in table):
                return read(path), []
            world, files = dist.get_world_size(self.group), manifest["files"]
            for name in sorted({s.file for x in table for s in x.shards})[self.rank :: world]:
                if sha256_of(path / name) != files[name]["sha256"]:
                    raise LayoutError("its content is not what was written")
        return read_values(path, manifest), table

    def _read_shards(
        self, path: Path, table: list[StoredTensor], tensors: Mapping[StatePath, Tensor]
    ) -> None:
        """Read the parts of this process into tensors.

        Raises:
            CheckpointError: a process could not.
        """
        reader = ShardReader(path, {_name(x.path): x for x in table})
        planner = DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
        try:
            load(
                {_name(k): x for k, x in tensors.items()},
                storage_reader=reader,
                planner=planner,
                process_group=self.group,
            )
        except CheckpointException as error:
            raise CheckpointError(_reason(error)) from error

    def _agreed(self, task: Callable[[], T]) -> T:
        """Run a task in all processes; if one cannot read the checkpoint, none does.

        Raises:
            CheckpointError: naming the process.
        """
        result, reason = None, None
        try:
            result = task()
        except (CheckpointError, LayoutError) as error:
            reason = str(error)
        reasons: list[str | None] = [None] * dist.get_world_size(self.group)
        dist.all_gather_object(reasons, reason, group=self.group)
        for rank, text in enumerate(reasons):
            if text is not None:
                raise CheckpointError(f"process {rank}: {text}")
        return result  # type: ignore[return-value]  # no process failed


@dataclass(slots=True)
class _Pending:
    """A checkpoint that is being written.

    Attributes:
        step, kind: of the checkpoint.
        future: ends when all processes know how it went; has the path if the thread knows it.
        writer: of shards.
    """

    step: int
    kind: CheckpointKind
    future: Future[Any]
    writer: ShardWriter | None = None

    def result(self) -> SaveResult:
        """Wait for the result, which is equal in all processes but for the path."""
        try:
            path = self.future.result()
        except CheckpointException as error:
            return SaveResult(self.step, self.kind, reason=_reason(error))
        except (OSError, RuntimeError) as error:  # the latter if another process has ended
            reason = getattr(error, "strerror", None) or str(error)
            return SaveResult(self.step, self.kind, reason=reason)
        if self.writer is not None:
            path = self.writer.published
        return SaveResult(self.step, self.kind, path)


def separate(state: State) -> tuple[State, dict[StatePath, Tensor]]:
    """Divide a state into values that every process has and tensors that are divided.

    Returns:
        The state with None in the places of the tensors, and the tensors by their paths.
    """
    tensors: dict[StatePath, Tensor] = {}

    def walk(value: Any, path: StatePath) -> Any:
        if isinstance(value, DTensor):
            tensors[path] = value.detach()
            return None
        if isinstance(value, dict):
            return {k: walk(x, (*path, k)) for k, x in value.items()}
        if isinstance(value, list):
            return [walk(x, (*path, i)) for i, x in enumerate(value)]
        return value

    return {k: walk(x, (k,)) for k, x in state.items()}, tensors


def divide(state: State, layouts: StateLayouts) -> State:
    """Return a state whose whole tensors are divided as those of a run.

    Args:
        state: with whole tensors, equal in all processes.
        layouts: how the run divides tensors.
    """

    def walk(value: Any, path: StatePath) -> Any:
        if isinstance(value, dict):
            return {k: walk(x, (*path, k)) for k, x in value.items()}
        if isinstance(value, list):
            return [walk(x, (*path, i)) for i, x in enumerate(value)]
        if not isinstance(value, Tensor) or isinstance(value, DTensor):
            return value
        like = layouts(path)
        if not isinstance(like, DTensor) or like.shape != value.shape:
            return value
        x = value.to(like.device)
        return distribute_tensor(x, like.device_mesh, like.placements, src_data_rank=None)

    return {k: walk(x, (k,)) for k, x in state.items()}


def _divides(like: Tensor | None, stored: StoredTensor) -> TypeGuard[DTensor]:
    return isinstance(like, DTensor) and tuple(like.shape) == stored.shape


def _target(stored: StoredTensor, like: Tensor | None) -> Tensor:
    """Return an empty tensor for a stored one, divided as `like`."""
    if _divides(like, stored):
        return torch.empty_like(like, dtype=stored.dtype)
    return torch.empty(stored.shape, dtype=stored.dtype)


def _name(path: StatePath) -> str:
    """Return the name of a tensor for torch; numbers and texts of digits differ in it."""
    return json.dumps(path)


def _reason(error: CheckpointException) -> str:
    """Return what went wrong in the first process that failed.

    Raises:
        BaseException: what no disk causes.
    """
    rank, (cause, _) = min(error.failures.items(), key=lambda x: x[0])
    if not isinstance(cause, (*READ_ERRORS, RuntimeError)):
        raise cause
    return f"process {rank}: {getattr(cause, 'strerror', None) or cause}"
