"""Data at three stages: what a file holds, what a model asks for, what training takes.

What comes in: `Fields` from a reader (`formats.open_dataset`) and the `Port`s of a model. What goes
out: `Samples`. Nothing here knows the language.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from opdsl.data.coarsen import Layout, Resolution, steps, times
from opdsl.diagnostics import Diagnostic, Help, OpError, did_you_mean

Role = Literal["input", "output", "unknown"]
Mapped = Mapping[str, str | list[str]]


@dataclass(frozen=True, slots=True, eq=False)
class Fields:
    """What a file holds, before a model is known.

    Attributes:
        name: the data set's name.
        values: field -> (samples, channels, *grid), in the number format of the file.
        roles: field -> what the file says of it.
        axes: names of the axes of the grid, in order.
        resolution: points on each axis.
        suspects: indices of samples that look corrupt (see `suspects`).
        source: the path as the user wrote it.
        fingerprint: SHA-256 of the names and contents of the fields read, in hexadecimal.
        layout: which points a coarser grid may keep.
    """

    name: str
    values: dict[str, Tensor]
    roles: dict[str, Role]
    axes: tuple[str, ...]
    resolution: tuple[int, ...]
    suspects: tuple[int, ...]
    source: str
    fingerprint: str
    layout: Layout = "periodic"


@dataclass(frozen=True, slots=True)
class Steps:
    """Which steps in time to take of a field: `count` of them, after the first `skipped` ones."""

    count: int
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Port:
    """What a model wants of one of its inputs or outputs.

    Attributes:
        name: the name in the program.
        channels: their number.
        components: their names, where the program gives them.
        axes: number of axes of the grid.
        steps: steps in time, which a file keeps as channels, the time before the components. An
            input may have them or not.
    """

    name: str
    channels: int
    components: tuple[str, ...] | None
    axes: int
    steps: Steps | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """What training takes: port -> (samples, channels, *grid), float32, all finite.

    Where there are steps in time, (samples, steps, channels, *grid).

    Attributes:
        inputs: by the name of the port.
        outputs: by the name of the port.
        name, source, fingerprint, layout: as in `Fields`.
        resolution: points on each axis.
    """

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    name: str
    source: str
    fingerprint: str
    resolution: tuple[int, ...]
    layout: Layout = "periodic"

    def __len__(self) -> int:
        return len(next(iter((self.inputs | self.outputs).values()), ()))

    def first(self, n: int) -> Samples:
        """The first n samples, or all if there are fewer."""
        return replace(
            self,
            inputs={k: x[:n] for k, x in self.inputs.items()},
            outputs={k: x[:n] for k, x in self.outputs.items()},
        )

    def last(self, n: int) -> Samples:
        """The last n samples, or all if there are fewer."""
        return replace(
            self,
            inputs={k: x[-n:] for k, x in self.inputs.items()},
            outputs={k: x[-n:] for k, x in self.outputs.items()},
        )

    def at(self, resolution: Resolution) -> Samples:
        """The same samples on every k-th point.

        Raises:
            OpError: OP0614, no step leads there.
        """
        k = steps(self.resolution, resolution, self.layout, source=self.source)
        thin = (slice(None), slice(None), *(slice(None, None, s) for s in k))
        size = (resolution,) * len(k) if isinstance(resolution, int) else tuple(resolution)
        return replace(
            self,
            inputs={k: x[thin].contiguous() for k, x in self.inputs.items()},
            outputs={k: x[thin].contiguous() for k, x in self.outputs.items()},
            resolution=size,
        )


def bind(
    fields: Fields,
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    mapping: Mapped | None = None,
) -> Samples:
    """The fields of a file as the inputs and outputs of a model.

    A port takes, in this order: the fields that `mapping` gives it; the fields named as its
    components, one channel each; the field of its own name, if every port of its side has one;
    the field at its place, if the file marks as many inputs (outputs) as the model has. Several
    fields become channels side by side. Numbers of any format become float32.

    Raises:
        OpError: every misfit at once: OP0611 no such field, OP0612 not finite, OP0613 the number
            of channels or axes differs or the mapping names no port.
    """
    mapping = mapping or {}
    _same_axes(fields, [*inputs, *outputs])
    faults = list(_strangers(fields, [*inputs, *outputs], mapping))
    ins = _side(fields, inputs, "input", mapping, faults)
    outs = _side(fields, outputs, "output", mapping, faults)
    if faults:
        raise OpError(*dict.fromkeys(faults))
    return Samples(
        ins, outs, fields.name, fields.source, fields.fingerprint, fields.resolution, fields.layout
    )


def _same_axes(fields: Fields, ports: Sequence[Port]) -> None:
    """All fields of a file lie on one grid, so a wrong number of axes is one mistake."""
    axes = len(fields.axes)
    wrong = next((x for x in ports if x.axes != axes), None)
    if wrong is not None:
        said = f"the data have {_count(axes, 'axis', 'axes')}, `{wrong.name}` of the model has"
        raise OpError(_misfit(fields, f"{said} {wrong.axes}"))


def _side(
    fields: Fields,
    ports: Sequence[Port],
    role: Role,
    mapping: Mapped,
    faults: list[Diagnostic],
) -> dict[str, Tensor]:
    """The tensors of all ports of one side; what is wrong is added to `faults`."""
    bound: dict[str, Tensor] = {}
    for place, port in enumerate(ports):
        names = _names(fields, ports, place, role, mapping)
        wrong = [_unmarked(fields, port, role)] if names is None else []
        if names is not None:
            wrong = list(_misfits(fields, port, names, role))
        if names is not None and not wrong:
            parts = [fields.values[n].to(torch.float32) for n in names]
            bound[port.name] = _in_time(port, role, parts)
        faults.extend(wrong)
    return bound


def _in_time(port: Port, role: Role, parts: Sequence[Tensor]) -> Tensor:
    """Fields side by side, with an axis for the steps in time if the port has some."""
    channels = sum(x.shape[1] for x in parts)
    if port.steps is None or (role == "input" and channels == port.channels):
        return parts[0] if len(parts) == 1 else torch.cat(list(parts), 1)
    times = channels // port.channels
    whole = torch.cat([x.reshape(len(x), times, -1, *x.shape[2:]) for x in parts], 2)
    return whole[:, port.steps.skipped : port.steps.skipped + port.steps.count]


def _names(
    fields: Fields, ports: Sequence[Port], place: int, role: Role, mapping: Mapped
) -> tuple[str, ...] | None:
    """The fields that a port takes, or None if nothing says which."""
    port = ports[place]
    if port.name in mapping:
        given = mapping[port.name]
        return (given,) if isinstance(given, str) else tuple(given)
    if port.components:
        return port.components
    if all(p.name in fields.values for p in ports):
        return (port.name,)
    marked = [n for n, r in fields.roles.items() if r == role]
    return (marked[place],) if len(marked) == len(ports) else None


def _misfits(fields: Fields, port: Port, names: Sequence[str], role: Role) -> Iterator[Diagnostic]:
    """Why these fields cannot feed this port; nothing if they can."""
    missing = [n for n in names if n not in fields.values]
    if missing:
        yield from (_missing(fields, port, n) for n in missing)
        return
    values = [fields.values[n] for n in names]
    channels = sum(x.shape[1] for x in values)
    whole = channels % port.channels == 0 and all(
        x.shape[1] % (channels // port.channels) == 0 for x in values
    )
    if port.steps and whole and values and (role == "output" or channels != port.channels):
        yield from _too_short(fields, names, channels // port.channels, port.steps)
    elif channels != port.channels or not values:
        yield _misfit(
            fields,
            f"{_listed(names)} has {_count(channels, 'channel')}, "
            f"`{port.name}` of the model has {port.channels}",
            *_perhaps_steps(port, role, channels),
        )
    else:
        bad = (_not_finite(fields, n) for n in names)
        yield from (x for x in bad if x)


def _too_short(
    fields: Fields, names: Sequence[str], have: int, steps: Steps
) -> Iterator[Diagnostic]:
    """OP0613 where a file has fewer steps in time than are asked for."""
    wanted = steps.skipped + steps.count
    if have >= wanted:
        bad = (_not_finite(fields, n) for n in names)
        yield from (x for x in bad if x)
        return
    left = f", {steps.skipped} of which are left out" if steps.skipped else ""
    cure = (f"`rollout = {have - steps.skipped}`, or data of more steps",)
    yield Diagnostic(
        "OP0613",
        f"{_listed(names)} has {_count(have, 'step')} in time{left}, "
        f"`rollout` asks for {steps.count}",
        helps=tuple(Help(x) for x in (cure if have > steps.skipped else ("lower `data.start`",))),
        file=fields.source,
    )


def _not_finite(fields: Fields, name: str) -> Diagnostic | None:
    # after the conversion: a large float64 is no float32
    bad = ~torch.isfinite(fields.values[name].to(torch.float32))
    count = int(bad.sum())
    if not count:
        return None
    first = int(bad.flatten(1).any(1).nonzero()[0])
    return Diagnostic(
        "OP0612",
        f"`{name}` holds {_count(count, 'value')} not finite in float32, first in sample {first}",
        helps=(Help("leave such samples out of the file: a model cannot learn from them"),),
        file=fields.source,
    )


def _missing(fields: Fields, port: Port, name: str) -> Diagnostic:
    helps = did_you_mean(name, fields.values)
    if not helps:
        helps = (
            f"say which fields `{port.name}` takes: {port.name} = {next(iter(fields.values))}",
        )
    return Diagnostic(
        "OP0611",
        f"no field `{name}` for `{port.name}`; the file has {_listed(fields.values)}",
        helps=tuple(Help(x) for x in helps),
        file=fields.source,
    )


def _unmarked(fields: Fields, port: Port, role: Role) -> Diagnostic:
    marked = [n for n, r in fields.roles.items() if r == role]
    told = f"marks {_listed(marked)} as {role}" if marked else f"marks no field as {role}"
    return Diagnostic(
        "OP0611",
        f"which field is the {role} `{port.name}`? The file has {_listed(fields.values)} "
        f"and {told}",
        helps=(Help(f"name it: {port.name} = {next(iter(fields.values), 'field')}"),),
        file=fields.source,
    )


def _perhaps_steps(port: Port, role: Role, channels: int) -> Iterator[str]:
    if role == "output" and channels > port.channels and channels % port.channels == 0:
        yield f"if these are steps in time, `rollout = {channels // port.channels}` learns them"


def _misfit(fields: Fields, message: str, *helps: str) -> Diagnostic:
    grid = f"`{fields.name}` is on a grid of {times(fields.resolution)} points"
    return Diagnostic(
        "OP0613",
        message,
        notes=(grid,),
        helps=(
            *(Help(x) for x in helps),
            Help("change the space in the program, or name other fields of the file"),
        ),
        file=fields.source,
    )


def _strangers(fields: Fields, ports: Sequence[Port], mapping: Mapped) -> Iterator[Diagnostic]:
    """Names in the mapping that no port has."""
    known = [p.name for p in ports]
    for name in mapping:
        if name not in known:
            yield Diagnostic(
                "OP0613",
                f"fields are named for `{name}`, but the model has {_listed(known)}",
                helps=tuple(Help(x) for x in did_you_mean(name, known)),
                file=fields.source,
            )


def _listed(names: Sequence[str] | Mapping[str, object]) -> str:
    return " and ".join(f"`{n}`" for n in names) if len(names) < 3 else _many(list(names))


def _many(names: Sequence[str]) -> str:
    return ", ".join(f"`{n}`" for n in names[:-1]) + f" and `{names[-1]}`"


def _count(n: int, one: str, more: str = "") -> str:
    return f"{n} {one}" if n == 1 else f"{n} {more or one + 's'}"
