"""The sources of samples: files and folders, or data sets in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from opdsl.data.bind.samples import Fields
from opdsl.data.derive.coarsen import Layout, Resolution
from opdsl.data.io.dataset import open_dataset
from opdsl.data.io.locate import SPLITS
from opdsl.data.io.rows.row_files import open_rows
from opdsl.diagnostics import OpError, fault
from opdsl.nn.points.batch import count_samples, select, select_geometries
from opdsl.workflow.datasets.reading.coarser import coarser
from opdsl.workflow.datasets.reading.handles import FileHandle, Handle, MappedHandle
from opdsl.workflow.datasets.reading.mapped import DataMap
from opdsl.workflow.datasets.reading.paths import each_path, is_list, matching_files, paths_in
from opdsl.workflow.datasets.reading.torch_sets import TorchSet

MANY = 1 << 60  # bytes
TRAIN, VALID, TEST = "<data>", "<valid>", "<test>"  # paths of data sets in memory


@dataclass(frozen=True, slots=True)
class Sources:
    """The data sets that a path can mean.

    Attributes:
        memory: data sets in memory by their paths, which no file can have.
    """

    memory: Mapping[str, Fields | TorchSet] = field(default_factory=dict)

    def open(
        self,
        path: str,
        *,
        split: str | None = None,
        resolution: Resolution | None = None,
        samples: int | None = None,
        layout: Layout | None = None,
        data_map: DataMap | None = None,
    ) -> Fields:
        """Read a data set, as `opdsl.data.open_dataset` does, or as the program maps its arrays.

        Raises:
            OpError: OP0610, OP0614, OP0615; OP0610 for a data set in memory that is not here.
        """
        if not in_memory(path):
            mapped = data_map and data_map.open(path, split)
            if data_map and mapped:
                return _part(data_map.read(mapped, range(samples or len(mapped))), resolution, None)
            return open_dataset(
                path, split=split, resolution=resolution, samples=samples, layout=layout
            )
        if path not in self.memory:
            raise not_in_memory(path)
        held = self.memory[path]
        fields = held.first(samples) if isinstance(held, TorchSet) else held
        if layout is not None and fields.layout == "periodic":
            fields = replace(fields, layout=layout)
        return _part(fields, resolution, samples)

    def handle(
        self,
        path: str,
        *,
        split: str | None = None,
        resolution: Resolution | None = None,
        layout: Layout | None = None,
        data_map: DataMap | None = None,
    ) -> Handle | None:
        """Open a data set whose samples can be read in any order; None if it must be read whole.

        Raises:
            OpError: as `open`.
        """
        if in_memory(path):
            held = self.memory.get(path)
            if not isinstance(held, TorchSet) or not len(held) or held.stored([0]).places:
                return None  # points that each sample has of its own are read whole
            return held.at(resolution, layout)
        mapped = data_map and data_map.open(path, split)
        if data_map and mapped:
            return MappedHandle(data_map, mapped, resolution) if mapped.data.by_rows else None
        files = open_rows(path, split=split, resolution=resolution, layout=layout)
        return None if files is None else FileHandle(files)

    def first(self, path: str, split: str | None, data_map: DataMap | None = None) -> Fields:
        """Read the first sample of a data set."""
        return self.open(path, split=split, samples=1, data_map=data_map)

    def exists(self, path: str) -> bool:
        """Return whether there is a file, a folder or a data set in memory of this path."""
        return path in self.memory if in_memory(path) else on_disk(path)

    def has(
        self,
        path: str,
        split: str | None,
        resolution: Resolution,
        layout: Layout | None = None,
        data_map: DataMap | None = None,
    ) -> bool:
        """Return whether a data set can be read at a resolution."""
        how: dict[str, Any] = {"layout": layout, "data_map": data_map}
        try:
            self.open(path, split=split, resolution=resolution, samples=1, **how)
        except OpError as error:
            if error.diagnostics[0].code == "OP0614":
                return False
            raise
        return True


def in_memory(path: str) -> bool:
    """Return whether a path means a data set in memory."""
    return path in {TRAIN, VALID} or (path.startswith(TEST[:-1]) and path.endswith(">"))


def not_in_memory(path: str) -> OpError:
    """Make the OP0610 for a data set in memory that a run was trained on and that is gone."""
    message = "the run was trained on arrays in memory, which its folder does not contain"
    helps = (
        "pass them again, as `run.evaluate({...})` or `opdsl.resume(run, data={...})`",
        "or name a file: `--data PATH`",
    )
    return fault("OP0610", message, helps=helps, file=path)


def absolute(path: str) -> str:
    """Return the path as seen from any working directory; that of memory stays as it is."""
    return path if in_memory(path) else each_path(path, lambda x: str(Path(x).resolve()))


def located(path: str, folder: Path) -> str:
    """Return the path from here if it exists, else from the folder of the program."""
    if is_list(path):
        return each_path(path, lambda x: located(x, folder))
    by_program = str(folder / path)
    return by_program if not on_disk(path) and on_disk(by_program) else path


def on_disk(path: str) -> bool:
    """Return whether there is a file or a folder of this path, or one that fits its pattern."""
    return all(Path(x).exists() or bool(matching_files(x)) for x in paths_in(path))


def stored_bytes(path: str) -> int:
    """Return the bytes of a file, of those of a folder, or of those that fit a pattern.

    Those of a data set in memory are not known before it is read.
    """
    if in_memory(path):
        return MANY
    if is_list(path):
        return sum(map(stored_bytes, paths_in(path)))
    if Path(path).is_dir():
        return sum(x.stat().st_size for x in Path(path).rglob("*") if x.is_file())
    files = (Path(path),) if Path(path).is_file() else matching_files(path)
    return sum(x.stat().st_size for x in files)


def parts_of(path: str) -> tuple[str, ...]:
    """Return the parts (`train`, `valid`, `test`) of a folder of data."""
    homes = (Path(path) / "data", Path(path))
    return tuple(x for x in SPLITS if any((home / x).is_dir() for home in homes))


def _part(fields: Fields, resolution: Resolution | None, samples: int | None) -> Fields:
    """Select the first samples of a data set in memory, on every k-th point."""
    count = count_samples(fields.values, fields.places)
    if samples is not None and samples > count:
        message = f"the data hold {count} samples, {samples} were asked for"
        raise fault("OP0610", message, file=fields.source)
    if samples is not None:
        fields = _first(fields, samples)
    return fields if resolution is None else coarser(fields, resolution)


def _first(fields: Fields, count: int) -> Fields:
    rows = range(count)
    return replace(
        fields,
        values={k: select(x, rows) for k, x in fields.values.items()},
        masks={k: select(x, rows) for k, x in fields.masks.items()},
        places={k: select_geometries(x, rows) for k, x in fields.places.items()},
    )
