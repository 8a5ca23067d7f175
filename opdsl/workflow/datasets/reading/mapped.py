"""Data sets whose arrays a program names: `data { fields { } axes { } windows { } }`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from glob import has_magic
from pathlib import Path
from typing import Any

from opdsl.data.arrays.axes import Kind, Target
from opdsl.data.arrays.listing import ArrayInfo
from opdsl.data.arrays.mapping import ArrayMap, MappedData, Opened, plan
from opdsl.data.arrays.parts import Files
from opdsl.data.arrays.queries import QueryData, grouped, has_queries
from opdsl.data.arrays.reading import is_store, open_arrays
from opdsl.data.arrays.references import matching, read_reference
from opdsl.data.bind.coordinates import AxesCoordinates
from opdsl.data.bind.samples import Fields
from opdsl.data.io.data_file import open_data_file
from opdsl.data.io.formats import FORMATS
from opdsl.data.io.locate import SPLITS
from opdsl.diagnostics import Diagnostic, OpError, did_you_mean, fault
from opdsl.ir.dims import decided
from opdsl.ir.graph import Graph, Port
from opdsl.workflow.datasets.reading.masks import INVERTED, MASKS, refuse_bad_masks, turned
from opdsl.workflow.datasets.reading.named_arrays import Converter
from opdsl.workflow.datasets.reading.paths import files_of, is_list, paths_in
from opdsl.workflow.datasets.reading.published import (
    agreed_coordinates,
    arrays_by_name,
    assumed,
    chosen_preset,
    has_own_reader,
    other_layout,
    published,
)
from opdsl.workflow.datasets.reading.query_samples import query_arrays

KNOWN_LAYOUTS = ("mesh", "points", "well")  # formats that state which arrays are what
SPLIT = "{split}"  # in the name of an array: the word of the part of the data
PARTS = {"train": ("train", "training"), "valid": ("valid", "vali", "val"), "test": ("test",)}


@dataclass(frozen=True, slots=True)
class MappedSource:
    """A data set whose arrays are known.

    Attributes:
        data: reads its samples.
        coordinates: axis of the grid -> where its points are, if the file states it.
        notes: about the layout that is assumed, for the user.
    """

    data: MappedData | QueryData
    coordinates: AxesCoordinates
    notes: tuple[Diagnostic, ...] = ()

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class DataMap:
    """What a program says about the arrays of its data.

    Attributes:
        graph: the model.
        map: names, axes and windows.
        optional: inputs and outputs that the data need not have.
        masks: input or output -> references to the arrays that mask it, `~` before inverted ones.
        kind: a published layout that the files have to have, or any other word.
    """

    graph: Graph
    map: ArrayMap
    optional: frozenset[str] = field(default_factory=frozenset)
    masks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kind: str = "auto"

    def open(self, path: str, split: str | None, *, inputs: bool = False) -> MappedSource | None:
        """Find the arrays of a data set; None if its layout itself states what they are.

        Args:
            path: a file, a folder, or a pattern of names (`samples/*.npz`).
            split: part of a folder, or of a file with `{split}` in `fields`.
            inputs: whether the outputs are left out, for predictions.

        Raises:
            OpError: as `plan`; OP0613, arrays are named for what the model does not have.
        """
        targets = [x for x in self._targets() if not (inputs and x.output)]
        preset = chosen_preset(self.kind, path)
        if preset is not None and not self._explicit and has_own_reader(preset, path):
            return None
        several = has_magic(path) or is_list(path) or preset is not None
        if not (self._explicit or several) and not self._looked_into(path, targets):
            return None
        self._refuse_strangers(path)
        files = files_of(path, None if self.divided else split)
        map_ = self._with_masks(self.map)
        map_ = self._of_part(map_, files, path, split) if self.divided else map_
        with Opened(files, path) as opened:
            listed = opened.list()
            arrays = arrays_by_name(listed)
            layout = published(arrays, targets, map_, preset)
            if preset is not None and layout is None:
                raise other_layout(listed, preset, targets)
            if layout is not None:
                fields = {**layout.fields, **map_.fields}
                map_ = replace(map_, fields=fields, axes={**layout.axes, **map_.axes})
            coordinates = agreed_coordinates(opened, listed, targets, map_, layout)
        data = self._plan(listed, map_, targets)
        notes = (assumed(path, layout, data),) if layout and layout.fields else ()
        return MappedSource(data, coordinates, notes)

    def _plan(
        self, files: Files, map_: ArrayMap, targets: Sequence[Target]
    ) -> MappedData | QueryData:
        """Find the arrays of inputs, outputs and masks; group rows that are queries."""
        data = plan(files, map_, [*targets, *self._masks(targets)])
        return grouped(files, data) if has_queries(data) else data

    def read(
        self,
        source: MappedSource,
        rows: Sequence[int],
        names: Collection[str] | None = None,
        files: Opened | None = None,
        *,
        judged: bool = True,
    ) -> Fields:
        """Read samples of a data set.

        Args:
            source: the data set.
            rows: indices of samples.
            names: inputs, outputs and domains to read; all if None.
            files: those of the data set, which stay open; opened for this call if None.
            judged: whether the fields get a fingerprint and suspects.

        Raises:
            OpError: OP0610, the values cannot be read, or there are fewer samples than asked for.
        """
        data = source.data
        if rows and max(rows) >= len(data):
            message = f"the data hold {len(data)} samples, {max(rows) + 1} were asked for"
            raise fault("OP0610", message, file=data.source)
        if names is not None:
            names = [*names, *(f"{MASKS}.{x}" for x in names if x in self.masks)]
        query_rows = None
        arrays: dict[str, Any]
        if isinstance(data, QueryData):
            queries = data.read(rows, names, files)
            query_rows, arrays = queries.rows, query_arrays(queries, data.targets)
        else:
            arrays = {**data.read(rows, names, files)}
        masks = {k: arrays.pop(f"{MASKS}.{k}") for k in self.masks if f"{MASKS}.{k}" in arrays}
        if masks:
            inverted = {k for k, v in self.masks.items() if v[0].startswith(INVERTED)}
            arrays[MASKS] = {k: turned(x) if k in inverted else x for k, x in masks.items()}
        fields = Converter(self.graph, data.source, judged=judged).convert(arrays)
        grid = next((x.grid for x in data.targets if x.kind == "grid"), ())
        stated = {k: x for k, x in source.coordinates.items() if k in grid}
        named = len(stated) == len(grid) == len(fields.axes)
        axes = grid if named else fields.axes
        coordinates = stated if named else {}
        return replace(
            fields,
            axes=axes,
            coordinates=coordinates,
            notes=source.notes,
            windows=len(data.starts),
            start=rows[0] if rows else 0,
            query_rows=query_rows,
        )

    @property
    def divided(self) -> bool:
        """Whether `{split}` in the names of arrays divides a file into parts."""
        return any(SPLIT in y for x in self._with_masks(self.map).fields.values() for y in x)

    def parts(self, path: str) -> tuple[str, ...]:
        """Return the parts (`train`, `valid`, `test`) into which the names of arrays divide a file.

        Raises:
            OpError: OP0610, the file cannot be read.
        """
        if not self.divided or not all(Path(x).is_file() for x in paths_in(path)):
            return ()
        names = self._names(files_of(path, None), path)
        return tuple(x for x in SPLITS if any(self._has(names, y) for y in PARTS[x]))

    def _names(self, files: Sequence[Path], path: str) -> list[str]:
        with open_arrays(files[0], path) as listing:
            return list(listing.arrays)

    def _has(self, names: Sequence[str], word: str) -> bool:
        """Whether all arrays of a part exist."""
        fields = self._with_masks(self.map).fields
        references = [y.replace(SPLIT, word) for x in fields.values() for y in x]
        return all(matching(read_reference(x).name, names) for x in references)

    def _with_masks(self, map_: ArrayMap) -> ArrayMap:
        """Return the map with the arrays of the masks as those of targets of their own."""
        masks = {f"{MASKS}.{k}": tuple(map(_plain, v)) for k, v in self.masks.items()}
        return replace(map_, fields={**map_.fields, **masks})

    def _masks(self, targets: Sequence[Target]) -> list[Target]:
        """Return the masks of these inputs and outputs as targets."""
        return [
            replace(
                x,
                name=f"{MASKS}.{x.name}",
                channels=len(self.masks[x.name]),
                components=(),
                mask=True,
            )
            for x in targets
            if x.name in self.masks
        ]

    def _of_part(
        self, map_: ArrayMap, files: Sequence[Path], path: str, split: str | None
    ) -> ArrayMap:
        """Return the map with the word of a part in its names."""
        names = self._names(files, path)
        parts = (split,) if split in PARTS else reversed(PARTS)  # the test data, if nobody says
        words = [y for x in parts for y in PARTS[x]]
        word = next((x for x in words if self._has(names, x)), words[0])
        fields = {k: tuple(y.replace(SPLIT, word) for y in v) for k, v in map_.fields.items()}
        axes = {k.replace(SPLIT, word): v for k, v in map_.axes.items()}
        return replace(map_, fields=fields, axes=axes)

    def _refuse_strangers(self, path: str) -> None:
        """Refuse names of arrays and masks for what the model does not have.

        Raises:
            OpError: OP0613; OP0681, a mask that is half inverted, or has another number of arrays.
        """
        targets = self._targets()
        axes = [y for x in targets for y in x.grid]
        names = list(dict.fromkeys([*(x.name for x in targets), *self.optional, *axes]))
        for name in self.map.fields:
            if name not in names:
                has = ", ".join(f"`{x}`" for x in names)
                message = f"arrays are named for `{name}`, but the model has {has}"
                raise fault("OP0613", message, helps=did_you_mean(name, names), file=path)
        masks = {k: v for k, v in self.masks.items() if k not in self.optional}
        refuse_bad_masks(masks, targets, path)

    @property
    def _explicit(self) -> bool:
        """Whether the program says what no reader of a known layout looks at."""
        references = [read_reference(y) for x in self.map.fields.values() for y in x]
        indexed = any(x.index or x.several for x in references)
        stated = bool(self.map.axes or self.masks) or self.map.windows is not None
        return stated or indexed or self.divided

    def _looked_into(self, path: str, targets: Sequence[Target]) -> bool:
        """Whether the arrays of a single file are to be taken by their names."""
        file = Path(path)
        if is_store(file):
            return True
        if not file.is_file():
            return False
        with open_data_file(file, path) as opened:
            known = (FORMATS.find(x) for x in KNOWN_LAYOUTS)
            if any(x is not None and x.matches(opened) for x in known):
                return False
            hdf5 = opened.container == "hdf5"
        try:
            with open_arrays(file, path) as listing:
                arrays = listing.arrays
        except OpError:
            if hdf5:
                raise
            return False
        if self._is_pair(targets, arrays):
            return False
        layout = published(arrays, targets, self.map) is not None
        return hdf5 or layout or self._all_named(targets, arrays)

    def _is_pair(self, targets: Sequence[Target], arrays: Mapping[str, ArrayInfo]) -> bool:
        """Whether a file is laid out as pairs `x` and `y`, whose channels come before the grid."""
        pair = {"x", "y"} if any(x.output for x in targets) else {"x"}
        named = {y for x in targets for y in self.map.fields.get(x.name, ())}
        return pair <= arrays.keys() and named <= {"x", "y"} and not self._vectors(targets)

    def _vectors(self, targets: Sequence[Target]) -> bool:
        """Whether the model takes vectors beside functions, which the layout of pairs has not."""
        return len({x.kind == "vector" for x in targets}) > 1

    def _all_named(self, targets: Sequence[Target], arrays: Mapping[str, ArrayInfo]) -> bool:
        names = list(arrays)
        for x in targets:
            wanted = self.map.fields.get(x.name) or (x.name,)
            if not all(matching(read_reference(y).name, names) for y in wanted):
                components = x.components and all(matching(y, names) for y in x.components)
                if x.name in self.map.fields or not components:
                    return False
        return True

    def _targets(self) -> list[Target]:
        back = {x.input for x in self.graph.feedback}
        targets = [
            _target(x, output=output, timed=output or x.name not in back)
            for output, ports in ((False, self.graph.inputs), (True, self.graph.outputs))
            for x in ports
            if x.name not in self.optional
        ]
        domains = [
            Target(x.name, "coordinates", x.ambient or 1) for x in self.graph.domains if x.scattered
        ]
        return [*targets, *domains]


def _target(port: Port, *, output: bool, timed: bool) -> Target:
    domain = port.space.domain
    kind: Kind = "points" if domain.scattered else "grid" if domain.dims else "vector"
    return Target(
        port.name,
        kind,
        decided(port.space.channels),
        port.space.components or (),
        tuple(x.name for x in domain.axes) if kind == "grid" else (),
        output,
        timed,
    )


def _plain(reference: str) -> str:
    return reference.removeprefix(INVERTED).strip()
