"""Data sets whose arrays a program names: `data { fields { } axes { } windows { } }`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from glob import has_magic
from pathlib import Path

from opdsl.data.arrays.axes import Kind, Target
from opdsl.data.arrays.listing import ArrayInfo
from opdsl.data.arrays.mapping import ArrayMap, MappedData, plan
from opdsl.data.arrays.reading import open_arrays
from opdsl.data.arrays.references import matching, read_reference
from opdsl.data.bind.samples import Fields
from opdsl.data.io.data_file import open_data_file
from opdsl.data.io.formats import FORMATS
from opdsl.data.io.locate import SPLITS, data_files
from opdsl.data.io.meshes import natural
from opdsl.diagnostics import OpError, fault
from opdsl.ir.dims import decided
from opdsl.ir.graph import Graph, Port
from opdsl.workflow.datasets.named_arrays import Converter

KNOWN_LAYOUTS = ("mesh", "points", "well")  # formats that state which arrays are what


@dataclass(frozen=True, slots=True)
class DataMap:
    """What a program says about the arrays of its data.

    Attributes:
        graph: the model.
        map: names, axes and windows.
        optional: inputs and outputs that the data need not have.
    """

    graph: Graph
    map: ArrayMap
    optional: frozenset[str] = field(default_factory=frozenset)

    def open(self, path: str, split: str | None, *, inputs: bool = False) -> MappedData | None:
        """Find the arrays of a data set; None if its layout itself states what they are.

        Args:
            path: a file, a folder, or a pattern of names (`samples/*.npz`).
            split: part of a folder.
            inputs: whether the outputs are left out, for predictions.

        Raises:
            OpError: as `plan`.
        """
        targets = [x for x in self._targets() if not (inputs and x.output)]
        explicit = self._explicit or has_magic(path)
        if not explicit and not self._looked_into(path, targets):
            return None
        return plan(_files(path, split), path, self.map, targets)

    def read(self, data: MappedData, start: int = 0, stop: int | None = None) -> Fields:
        """Read samples of a data set.

        Raises:
            OpError: OP0610, the values cannot be read, or there are fewer samples than asked for.
        """
        if stop is not None and stop > len(data):
            message = f"the data hold {len(data)} samples, {stop} were asked for"
            raise fault("OP0610", message, file=data.source)
        arrays = data.read(start, len(data) if stop is None else stop)
        return Converter(self.graph, data.source).convert(arrays)

    @property
    def _explicit(self) -> bool:
        """Whether the program says what no reader of a known layout looks at."""
        references = [read_reference(y) for x in self.map.fields.values() for y in x]
        indexed = any(x.index or x.several for x in references)
        return bool(self.map.axes) or self.map.windows is not None or indexed

    def _looked_into(self, path: str, targets: list[Target]) -> bool:
        """Whether the arrays of a single file are to be taken by their names."""
        file = Path(path)
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
        pair = {"x", "y"} <= arrays.keys() and not self._vectors(targets)
        return not pair and (hdf5 or self._all_named(targets, arrays))

    def _vectors(self, targets: list[Target]) -> bool:
        """Whether the model takes vectors beside functions, which the layout of pairs has not."""
        return len({x.kind == "vector" for x in targets}) > 1

    def _all_named(self, targets: list[Target], arrays: Mapping[str, ArrayInfo]) -> bool:
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


def _files(path: str, split: str | None) -> tuple[Path, ...]:
    """List the files of a data set, in the order of their names.

    Raises:
        OpError: OP0610, there are none.
    """
    if has_magic(path) and not Path(path).exists():
        files = matching_files(path)
        if not files:
            raise fault("OP0610", "no file has such a name", file=path)
        return files
    if Path(path).is_dir():
        own = _in(Path(path))
        parts = {x: y for x in SPLITS if (y := _in(Path(path) / x))}
        if parts and (split is not None or not own):
            return parts.get(split or next(iter(parts))) or data_files(Path(path), split, path)
        if own:
            return own
    return data_files(Path(path), split, path)


def matching_files(pattern: str) -> tuple[Path, ...]:
    """List the files that fit a pattern, in the order of the numbers in their names."""
    if not has_magic(pattern):
        return ()
    path = Path(pattern)
    matches = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    return tuple(sorted((x for x in matches if x.is_file()), key=natural))


def _in(folder: Path) -> tuple[Path, ...]:
    """List the files of a folder, in the order of the numbers in their names."""
    if not folder.is_dir():
        return ()
    files = (x for x in folder.iterdir() if x.is_file() and not x.name.startswith("."))
    return tuple(sorted(files, key=natural))
