"""Match the fields of a file with the inputs and outputs of a model; collect what does not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from opdsl.data.bind.finite_values import bad_values
from opdsl.data.bind.masks import (
    REFUSED,
    MissingValues,
    empty_samples,
    empty_warning,
    fill_missing,
    joined_mask,
    masked_weights,
)
from opdsl.data.bind.point_sets import (
    PointsRequest,
    choose_point_set,
    geometries_of,
    grid_mismatch,
    points_mismatch,
    value_count_fault,
    weights_on_points,
)
from opdsl.data.bind.samples import FieldRequest, Fields, Role, Samples, TimeSteps
from opdsl.data.bind.suspects import zero_truth_warnings
from opdsl.data.derive.coarsen import size_text
from opdsl.data.io.pairs import LAST
from opdsl.diagnostics import Diagnostic, Help, OpError, did_you_mean
from opdsl.nn.points.batch import Values, all_values, concat_channels, map_values
from opdsl.nn.points.geometry import Geometries
from opdsl.nn.points.packed import Packed

Mapped = Mapping[str, str | list[str]]


def bind_fields(
    fields: Fields,
    inputs: Sequence[FieldRequest],
    outputs: Sequence[FieldRequest],
    mapping: Mapped | None = None,
    sites: Sequence[PointsRequest] = (),
    missing: MissingValues = REFUSED,
    *,
    judged: bool = True,
) -> Samples:
    """Bind the fields of a file to the inputs and outputs of a model.

    A port takes, in this order: the fields that `mapping` gives it; the fields named as its
    components, one channel each; the field of its own name, if every other port of its side that
    the mapping leaves out has one, or if the file marks it as an input (output); the field at its
    place among those that are left, if the file marks as many as there are ports left. Several
    fields become channels side by side. Numbers of any format become float32.

    A domain of points is the set of points that `mapping` gives it, or that has its name, or on
    which the fields are that the model takes on it, or the only one of the file, or the only one on
    which the model takes fields.

    Args:
        fields: of a data set.
        inputs: of the model.
        outputs: of the model.
        mapping: name of an input, output or domain -> fields.
        sites: the domains of points of the model.
        judged: whether values are looked at; those of batches have been.

    Raises:
        OpError: every misfit at once: OP0611 no such field or no coordinates, OP0612 not finite,
            OP0613 the number of channels, axes or points differs, or the mapping names no port,
            OP0619 values outside the range of float32.
    """
    mapping = mapping or {}
    ports = [*inputs, *outputs]
    if not fields.places:
        _same_axes(fields, ports)
    valid_names = [*(x.name for x in ports), *(x.name for x in sites)]
    faults = list(_strangers(fields, valid_names, mapping))
    choices = _told(fields, inputs, "input", mapping) | _told(fields, outputs, "output", mapping)
    where, places = _grounds(fields, ports, sites, choices, mapping, faults)
    used, sought = ({y for x in side for y in choices[x.name] or ()} for side in (inputs, outputs))
    fields, lost = fill_missing(fields, used, sought, missing)
    masks: dict[str, Values] = {}
    ins = _side(fields, inputs, "input", choices, where, masks, faults, judged=judged)
    outs = _side(fields, outputs, "output", choices, where, masks, faults, judged=judged)
    warnings = [x for x in faults if x.severity != "error"]
    if len(faults) > len(warnings):
        raise OpError(*(x for x in dict.fromkeys(faults) if x.severity == "error"))
    timed = {x.name for x in outputs if x.steps}
    weights = masked_weights(
        dict(weights_on_points(ports, ins | outs, sites, places, fields.source)), masks
    )
    empty = empty_samples(masks, outs, fields.start)
    lost_samples = (empty_warning(k, x, fields.source) for k, x in empty.items())
    notes = [*zero_truth_warnings(outs, timed, fields, masks), *lost_samples]
    notes = notes if judged else []
    return Samples(
        ins,
        outs,
        fields.name,
        fields.source,
        fields.fingerprint,
        fields.resolution,
        fields.layout,
        places,
        tuple(x.name for x in sites if x.required),
        {x.name: x.domain for x in ports if x.domain in places},
        weights,
        tuple(dict.fromkeys([*warnings, *notes])),
        fields.windows,
        lost,
    )


# which fields each port takes; None: nobody says
FieldChoice = Mapping[str, tuple[str, ...] | None]


def _told(
    fields: Fields, ports: Sequence[FieldRequest], role: Role, mapping: Mapped
) -> dict[str, Any]:
    return {x.name: _names(fields, ports, x, role, mapping) for x in ports}


def _grounds(
    fields: Fields,
    ports: Sequence[FieldRequest],
    sites: Sequence[PointsRequest],
    choice: FieldChoice,
    mapping: Mapped,
    faults: list[Diagnostic],
) -> tuple[dict[str, str], dict[str, Geometries]]:
    """Return for each domain of points its point set in the file and its geometries, if any."""
    where: dict[str, str] = {}
    places: dict[str, Geometries] = {}
    field_names = [n for names in choice.values() for n in names or ()]
    for site in sites:
        on_it = {x.name: choice[x.name] or () for x in ports if x.domain == site.name}
        target = mapping.get(site.name)
        set_name = target if target is None or isinstance(target, str) else ", ".join(target)
        name, wrong = choose_point_set(fields, site, on_it, set_name, field_names)
        faults += wrong
        if name is not None:
            where[site.name] = fields.homes.get(name, name) if name not in fields.places else name
            places[site.name], wrong = geometries_of(fields, site, name)
            faults += wrong
    return where, places


def _same_axes(fields: Fields, ports: Sequence[FieldRequest]) -> None:
    """Refuse a wrong number of axes once: all fields of a file lie on one grid."""
    axes = len(fields.axes)
    # a vector has no axes, and fits any grid
    wrong = next((x for x in ports if x.axes not in {0, axes}), None)
    if wrong is not None:
        text = f"the data have {_count(axes, 'axis', 'axes')}, `{wrong.name}` of the model has"
        *others, last = fields.resolution
        short = axes == wrong.axes + 1 and 2 * last < min(others)
        raise OpError(_misfit(fields, f"{text} {wrong.axes}", *([LAST] if short else [])))


def _side(
    fields: Fields,
    ports: Sequence[FieldRequest],
    role: Role,
    choice: FieldChoice,
    where: Mapping[str, str],
    masks: dict[str, Values],
    faults: list[Diagnostic],
    *,
    judged: bool,
) -> dict[str, Values]:
    """Bind all ports of one side (inputs or outputs); add to `masks` and `faults`."""
    bound: dict[str, Values] = {}
    field_names = [n for names in choice.values() for n in names or ()]
    for port in ports:
        names = choice[port.name]
        if names is None:
            faults.append(_unmarked(fields, port, role, field_names))
            continue
        wrong = list(_misfits(fields, port, names, role, where))
        if judged:
            wrong = wrong or [y for n in names for y in bad_values(fields, n, role)]
        if all(x.severity == "warning" for x in wrong):
            values = [fields.values[n] for n in names]
            bound[port.name] = _in_time(port, role, [_single(x) for x in values])
            mask = joined_mask([fields.masks.get(n) for n in names], values)
            if mask is not None:
                masks[port.name] = _in_time(port, role, [mask])
        faults.extend(wrong)
    return bound


def _single(x: Values) -> Values:
    return map_values(x, lambda y: y.to(torch.float32))


def _in_time(port: FieldRequest, role: Role, parts: Sequence[Values]) -> Values:
    """Concatenate fields on the channel axis and split off an axis for the time steps, if any.

    Returns:
        (samples, channels, *grid), or (samples, steps, channels, *grid).
    """
    channels = sum(_channels(x) for x in parts)
    if port.steps is None or (role == "input" and channels == port.channels):
        return concat_channels(parts)
    steps = channels // port.channels
    dense = [all_values(x) for x in parts]
    whole = torch.cat([x.reshape(len(x), steps, -1, *x.shape[2:]) for x in dense], 2)
    return whole[:, port.steps.skipped : port.steps.skipped + port.steps.count]


def _channels(x: Values) -> int:
    return all_values(x).shape[1]


def _names(
    fields: Fields, ports: Sequence[FieldRequest], port: FieldRequest, role: Role, mapping: Mapped
) -> tuple[str, ...] | None:
    """Names of the fields that a port takes, or None if nothing determines them."""
    if port.name in mapping:
        field_names = mapping[port.name]
        return (field_names,) if isinstance(field_names, str) else tuple(field_names)
    if port.components:
        return port.components
    if all(p.name in fields.values or p.name in mapping for p in ports):
        return (port.name,)
    marked = [n for n, r in fields.roles.items() if r == role]
    # a field with the name of a port belongs to it, whatever its place in the file
    matched_names = {p.name for p in ports if p.name in marked and p.name not in mapping}
    if port.name in matched_names:
        return (port.name,)
    free_names = [n for n in marked if n not in matched_names]
    others = [p.name for p in ports if p.name not in matched_names]
    return (free_names[others.index(port.name)],) if len(free_names) == len(others) else None


def _misfits(
    fields: Fields, port: FieldRequest, names: Sequence[str], role: Role, where: Mapping[str, str]
) -> Iterator[Diagnostic]:
    """Yield diagnostics that say why these fields cannot feed this port."""
    missing = [n for n in names if n not in fields.values]
    if missing:
        yield from (_missing(fields, port, n) for n in missing)
        return
    if fields.places and (misplaced := list(_misplaced(fields, port, names, where))):
        yield from misplaced
        return
    values = [fields.values[n] for n in names]
    channels = sum(_channels(x) for x in values)
    whole = channels % port.channels == 0 and all(
        _channels(x) % (channels // port.channels) == 0 for x in values
    )
    if port.steps and whole and values and (role == "output" or channels != port.channels):
        yield from _too_short(fields, names, channels // port.channels, port.steps)
    elif channels != port.channels or not values:
        yield _misfit(
            fields,
            f"{_listed(names)} has {_count(channels, 'channel')}, "
            f"`{port.name}` of the model has {port.channels}",
            *_perhaps_steps(port, role, channels),
            *([LAST] if _ends_with_channels(port, values) else []),
        )


def _misplaced(
    fields: Fields, port: FieldRequest, names: Sequence[str], where: Mapping[str, str]
) -> Iterator[Diagnostic]:
    """Yield diagnostics of fields that are not on the domain of the port."""
    if not port.scattered:
        reason = grid_mismatch(port, names, fields)
    else:
        reason = points_mismatch(port, names, fields, where.get(port.domain))
    if reason:
        yield _misfit(fields, reason)
        return
    yield from (
        x
        for n in names
        if n in fields.homes
        if (x := value_count_fault(fields, n, fields.homes[n]))
    )
    if port.steps and any(isinstance(fields.values[n], Packed) for n in names):
        message = f"steps in time of `{port.name}` on points that each sample has of its own"
        yield _misfit(fields, message, "`rollout` learns them on points that all samples share")


def _too_short(
    fields: Fields, names: Sequence[str], have: int, steps: TimeSteps
) -> Iterator[Diagnostic]:
    """Yield OP0613 where a file has fewer time steps than `rollout` needs."""
    needed = steps.skipped + steps.count
    if have >= needed:
        return
    left_out = f", {steps.skipped} of which are left out" if steps.skipped else ""
    cure = (f"`rollout = {have - steps.skipped}`, or data of more steps",)
    yield Diagnostic(
        "OP0613",
        f"{_listed(names)} has {_count(have, 'step')} in time{left_out}, "
        f"`rollout` asks for {steps.count}",
        helps=tuple(Help(x) for x in (cure if have > steps.skipped else ("lower `data.start`",))),
        file=fields.source,
    )


def _missing(fields: Fields, port: FieldRequest, name: str) -> Diagnostic:
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


def _unmarked(fields: Fields, port: FieldRequest, role: Role, used: Sequence[str]) -> Diagnostic:
    if not fields.values:
        # the same diagnostic for every port: duplicates are removed, so it is shown once
        helps = (Help("a model takes and gives functions: add them to the file"),)
        return Diagnostic("OP0611", "the file has no fields", helps=helps, file=fields.source)
    free = next((n for n in fields.values if n not in used), None)
    cure = f"name it: {port.name} = {free}" if free else f"add a field `{port.name}` to the file"
    marked = [n for n, r in fields.roles.items() if r == role]
    marks = f"marks {_listed(marked)} as {role}" if marked else f"marks no field as {role}"
    return Diagnostic(
        "OP0611",
        f"which field is the {role} `{port.name}`? The file has {_listed(fields.values)} "
        f"and {marks}",
        helps=(Help(cure),),
        file=fields.source,
    )


def _ends_with_channels(port: FieldRequest, values: Sequence[Values]) -> bool:
    """Whether the last axis of the only field is as long as the port has channels."""
    shapes = [all_values(x).shape for x in values]
    return not port.scattered and len(shapes) == 1 and shapes[0][-1] == port.channels


def _perhaps_steps(port: FieldRequest, role: Role, channels: int) -> Iterator[str]:
    if role == "output" and channels > port.channels and channels % port.channels == 0:
        yield f"if these are steps in time, `rollout = {channels // port.channels}` learns them"


def _misfit(fields: Fields, message: str, *helps: str) -> Diagnostic:
    grid = f"`{fields.name}` is on a grid of {size_text(fields.resolution)} points"
    if fields.places:
        grid = f"`{fields.name}` has {_places(fields)}"
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


def _places(fields: Fields) -> str:
    """Describe where fields lie: "`f` and `p` on the points `P`; `s` on 16 x 16 points"."""
    on = {k: [n for n, home in fields.homes.items() if home == k] for k in fields.places}
    texts = [f"{_listed(x)} on the points `{k}`" for k, x in on.items() if x]
    grids = [n for n in fields.values if n not in fields.homes]
    texts += [f"`{n}` on {size_text(all_values(fields.values[n]).shape[2:])} points" for n in grids]
    return "; ".join(texts)


def _strangers(fields: Fields, known: Sequence[str], mapping: Mapped) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each name in the mapping that no port has."""
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
