"""Join the files of one data set: the fields of each, with the samples of all files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from opdsl.data.bind.coordinates import coordinate_difference
from opdsl.data.io.file_fields import FileFields
from opdsl.diagnostics import fault
from opdsl.nn.points.batch import Values, concat_samples, split_samples
from opdsl.nn.points.geometry import Geometries
from opdsl.nn.points.packed import Packed


def fingerprint(
    values: Mapping[str, Values], places: Mapping[str, Geometries] | None = None
) -> str:
    """SHA-256 of the names, number formats, shapes and bytes of fields, independent of their order.

    Where there are points, it includes their coordinates and the numbers of points of the samples.
    """
    digest = FieldsDigest()
    for name in sorted(values):
        x = values[name]
        if isinstance(x, Packed):
            digest.update(f"{x.sizes}|".encode())
            x = x.values
        digest.field(name, x.dtype, x.shape)
        digest.values(x)
    for name, placed in sorted((places or {}).items()):
        digest.update(name.encode() + b"".join(x.key for x in placed))
    return digest.hexdigest()


class FieldsDigest:
    """The fingerprint of fields, which are added in the order of their names, piece after piece."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.update, self.hexdigest = self._digest.update, self._digest.hexdigest

    def field(self, name: str, dtype: torch.dtype, shape: Sequence[int]) -> None:
        """Begin a field, whose values come next."""
        self.update(f"{name}|{dtype}|{tuple(shape)}|".encode())

    def values(self, x: Tensor) -> None:
        """Add values of the field, some samples in a row."""
        self.update(x.contiguous().reshape(-1).view(torch.uint8).numpy().data)


def refuse_other_layout(first: FileFields, other: FileFields, source: str) -> None:
    """Refuse a file whose fields, axes, points or coordinates differ from those of the first file.

    Raises:
        OpError: OP0610, the layouts differ.
    """
    for what, a, b in (
        ("fields", _shapes(first), _shapes(other)),
        ("roles", first.roles, other.roles),
        ("axes", first.axes, other.axes),
        ("points", _points(first), _points(other)),
    ):
        if a != b:
            raise fault(
                "OP0610",
                f"the {what} differ from those of the first file of the set",
                notes=(f"here {b}, there {a}",),
                file=source,
            )
    if differing := coordinate_difference(first.coordinates, other.coordinates):
        raise fault(
            "OP0610",
            "the coordinates differ from those of the first file of the set",
            notes=(f"here {differing[1]}, there {differing[0]}",),
            file=source,
        )


def join_points(parts: Sequence[FileFields], name: str) -> Geometries:
    """Join the geometries of all samples; one if all samples of all files share it."""
    first = parts[0].places[name]
    shared = all(len(x.places[name]) == 1 and x.places[name][0].key == first[0].key for x in parts)
    if shared and not any(isinstance(x, Packed) for r in parts for x in _on(r, name)):
        return first
    return tuple(
        y for r in parts for y in r.places[name] * (len(r) if len(r.places[name]) == 1 else 1)
    )


def join_values(parts: Sequence[FileFields], name: str, places: Mapping[str, Geometries]) -> Values:
    """Join one field of all files; packed where each sample has points of its own."""
    values = [x.values[name] for x in parts]
    home = parts[0].homes.get(name)
    if home is not None and len(places[home]) > 1:
        return Packed.of(y for x in values for y in split_samples(x))
    return concat_samples(values)


def _on(fields: FileFields, name: str) -> Iterator[Values]:
    """Iterate over the functions on a set of points."""
    return (x for k, x in fields.values.items() if fields.homes.get(k) == name)


def _shapes(fields: FileFields) -> dict[str, tuple[int, ...]]:
    """Shape (channels, *grid) of each field; (channels,) where it is on points."""
    return {
        k: tuple(x.shape[1:])
        if isinstance(x, Tensor) and k not in fields.homes
        else (_channels(x),)
        for k, x in fields.values.items()
    }


def _channels(x: Values) -> int:
    return x.channels if isinstance(x, Packed) else x.shape[1]


def _points(fields: FileFields) -> tuple[dict[str, int], dict[str, str]]:
    """Dimensions of the space of each point set, and the point set of each field."""
    return {k: x[0].points.shape[1] for k, x in fields.places.items()}, dict(fields.homes)
