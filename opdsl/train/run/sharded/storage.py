"""The storage of `torch.distributed.checkpoint` for sharded checkpoints.

torch's own storages keep their table in a pickle. This one keeps it in the manifest: each process
writes its parts into a file of safetensors in one staging folder; when all have them on the disk,
the coordinator adds the rest of the state and the manifest, and renames the folder.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import (
    LoadPlan,
    LoadPlanner,
    ReadItem,
    SavePlan,
    SavePlanner,
)
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

from opdsl.files import temporary_name
from opdsl.train.run.sharded.files import WrittenFile, part_of, write_tensors
from opdsl.train.run.sharded.layout import Shard, StatePath, StoredTensor, text_of

# writes state and manifest into the staging folder and renames it
Publish = Callable[[Path, list[StoredTensor], list[WrittenFile]], Path]


@dataclass(slots=True)
class ShardWriter(StorageWriter):
    """Writes the parts of the tensors of a state.

    Attributes:
        folder: of all checkpoints of the run.
        paths: of the tensors in the state, by their names for torch.
        publish: what the coordinator does when all parts are on the disk; None elsewhere.
        published: the checkpoint, in the coordinator.
    """

    folder: Path
    paths: Mapping[str, StatePath]
    publish: Publish | None = None
    published: Path | None = field(default=None, init=False)
    _staging: Path | None = field(default=None, init=False)

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Begin a checkpoint; its name is chosen at the end."""

    def set_up_storage_writer(self, is_coordinator: bool, *_: Any, **__: Any) -> None:
        """Make the staging folder, in the process that publishes it."""
        if is_coordinator:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._staging = self.folder / temporary_name()
            self._staging.mkdir()

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """Leave the plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Tell each process the staging folder and the name of its file."""
        assert self._staging is not None, "the coordinator has made it"
        count, name = len(plans), self._staging.name
        files = [(name, f"shard-{i:05d}-of-{count:05d}.safetensors") for i in range(1, count + 1)]
        return [
            dataclasses.replace(plan, storage_data=x) for plan, x in zip(plans, files, strict=True)
        ]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Write the parts of this process and bring them to the disk.

        Raises:
            OSError: they could not be written.
        """
        staging, file = plan.storage_data
        parts: dict[str, Tensor] = {}
        shards: list[tuple[MetadataIndex, Shard]] = []
        for item in plan.items:
            x = planner.resolve_data(item)
            assert isinstance(x, Tensor), "plain values are not among the tensors"
            offset = tuple(item.index.offset or ())
            name = f"{text_of(self.paths[item.index.fqn])}@{','.join(map(str, offset))}"
            parts[name] = x.detach().cpu()
            shards.append((item.index, Shard(file, name, offset, tuple(x.shape))))
        written = write_tensors(self.folder / staging / file, parts)
        results = [WriteResult(index, parts[x.name].nbytes, (x, written)) for index, x in shards]
        done: Future[list[WriteResult]] = Future()
        done.set_result(results or [WriteResult(MetadataIndex(""), 0, (None, written))])
        return done

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Publish the checkpoint: all parts are on the disk.

        Raises:
            OSError: the rest could not be written.
        """
        assert self._staging is not None, "only the coordinator finishes"
        assert self.publish is not None, "only the coordinator finishes"
        shards: dict[str, list[Shard]] = {x: [] for x in self.paths}
        files: dict[str, WrittenFile] = {}
        for result in (x for some in results for x in some):
            shard, written = result.storage_data
            files[written.name] = written
            if shard is not None and 0 not in shard.shape:
                shards[result.index.fqn].append(shard)
        tensors = []
        for name, path in self.paths.items():
            stored = metadata.state_dict_metadata[name]
            assert isinstance(stored, TensorStorageMetadata), (
                "plain values are not among the tensors"
            )
            dtype, shape = stored.properties.dtype, tuple(stored.size)
            tensors.append(StoredTensor(path, dtype, shape, tuple(shards[name])))
        self.published = self.publish(self._staging, tensors, list(files.values()))

    def discard(self) -> None:
        """Remove the staging folder of a checkpoint that failed."""
        if self._staging is not None and self.published is None:
            shutil.rmtree(self._staging, ignore_errors=True)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:  # noqa: ARG003  torch's interface
        """Accept no name: the writer is made for one checkpoint."""
        return False


@dataclass(slots=True)
class ShardReader(StorageReader):
    """Reads those parts of the tensors of a checkpoint that a process needs.

    Hashes have been compared before: a part of a file has none.

    Attributes:
        folder: the checkpoint.
        tensors: its tensors by their names for torch.
    """

    folder: Path
    tensors: Mapping[str, StoredTensor]

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Begin to read; the reader is made for one checkpoint."""

    def read_metadata(self, *_: Any, **__: Any) -> Metadata:
        """Return the table of tensors as torch's planners want it."""
        return Metadata({name: _metadata_of(x) for name, x in self.tensors.items()})

    def set_up_storage_reader(
        self, metadata: Metadata, is_coordinator: bool, *_: Any, **__: Any
    ) -> None:
        """Do nothing: the table is known."""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """Leave the plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """Leave the plans as they are."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Copy parts of files into the tensors of the plan.

        Raises:
            OSError, SafetensorError, LookupError, ValueError: a part is missing or differs.
        """
        places = [(self._shard(x), x) for x in plan.items]
        places.sort(key=lambda x: x[0].file)
        for file, some in groupby(places, key=lambda x: x[0].file):
            with safe_open(self.folder / file, framework="pt") as content:
                for shard, item in some:
                    x = self._part(content, shard, item)
                    target = planner.resolve_tensor(item)
                    target.copy_(x)
                    planner.commit_tensor(item, target)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def _shard(self, item: ReadItem) -> Shard:
        """Return the part that an item of a plan reads."""
        offset = tuple(item.storage_index.offset or ())
        shards = self.tensors[item.storage_index.fqn].shards
        return next(x for x in shards if x.offset == offset)

    def _part(self, content: Any, shard: Shard, item: ReadItem) -> Tensor:
        """Read the rows of a part that an item needs."""
        dtype = self.tensors[item.storage_index.fqn].dtype
        stored = content.get_slice(shard.name)
        rows = [
            slice(start, start + length)
            for start, length in zip(item.storage_offsets, item.lengths, strict=True)
        ]
        x = stored[tuple(rows)] if rows else content.get_tensor(shard.name)
        return part_of({shard.name: x}, shard.name, tuple(item.lengths), dtype)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:  # noqa: ARG003  torch's interface
        """Accept no name: the reader is made for one checkpoint."""
        return False


def _metadata_of(stored: StoredTensor) -> TensorStorageMetadata:
    chunks = [
        ChunkStorageMetadata(torch.Size(x.offset), torch.Size(x.shape)) for x in stored.shards
    ]
    properties = TensorProperties(dtype=stored.dtype)
    return TensorStorageMetadata(properties, torch.Size(stored.shape), chunks)
