"""Checks of the inputs of a call against each other, and of what blocks need beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from opdsl.diagnostics import OpError, fault
from opdsl.ir.block import SideInput
from opdsl.ir.origins import roots
from opdsl.lower.call_arguments import CallArgument, Coordinates, representative, sample_count
from opdsl.lower.input_checks import NO_POINTS, broken_promise
from opdsl.lower.shape_texts import dtype_name, shape_text, size_text
from opdsl.nn.points.geometry import point_counts
from opdsl.nn.points.packed import Packed

if TYPE_CHECKING:
    from opdsl.lower.guards import Guards


def check_batches(guards: Guards, arguments: Sequence[CallArgument]) -> None:
    """Check that all inputs have as many samples, packed ones with as many points in each.

    Raises:
        OpError: OP0906, they have not.
    """
    batch = guards.batch(arguments)
    for port, x in zip(guards.graph.inputs, arguments, strict=False):
        if sample_count(x) != batch:
            first = guards.graph.inputs[0].name
            counts = f"`{first}` has {batch} samples, `{port.name}` {sample_count(x)}"
            shape = ", ".join((str(batch), *["-1"] * (representative(x).ndim - 1)))
            cure = f"one for all samples: `{port.name}.expand({shape})`"
            single = isinstance(x, Tensor) and sample_count(x) == 1
            helps = (cure,) if single else ("give as many samples of each input",)
            raise guards.refuse("OP0906", port, f"the batches differ: {counts}", helps)
    for side_input, y in zip(
        guards.side_inputs, arguments[len(guards.graph.inputs) :], strict=True
    ):
        if isinstance(y, Coordinates) and sample_count(y) not in {1, batch}:
            message = (
                f"`{side_input.name}` has coordinates for {sample_count(y)} samples of {batch}"
            )
            helps = ("give coordinates for each sample, or one set for all",)
            raise fault("OP0906", message, helps=helps, file=guards.graph.name)
    _check_packed_sizes(guards, arguments)


def _check_packed_sizes(guards: Guards, arguments: Sequence[CallArgument]) -> None:
    """Check that arguments on one packed domain have equal numbers of points in each sample."""
    sizes = guards.packed(arguments)
    domains = [x.space.domain for x in guards.graph.inputs] + [x.domain for x in guards.side_inputs]
    for name, domain, x in zip(guards.names, domains, arguments, strict=True):
        expected = sizes.get(domain.name)
        if expected is None or not (isinstance(x, Coordinates) or domain.name in sizes):
            continue
        counts = x.sizes if isinstance(x, Packed) else _argument_sizes(x)
        if counts != expected:
            message = f"`{name}` {_difference(counts, expected)} on `{domain}`"
            helps = ("give for each sample as many values as coordinates",)
            raise fault("OP0906", message, helps=helps, file=guards.graph.name)


def _difference(met: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    if len(met) != len(wanted):
        return f"has {len(met)} samples of {len(wanted)}"
    i = next(i for i, (a, b) in enumerate(zip(met, wanted, strict=True)) if a != b)
    return f"has {met[i]} points in sample {i}, where others have {wanted[i]}"


def _argument_sizes(x: CallArgument) -> tuple[int, ...]:
    if isinstance(x, Coordinates):
        return point_counts(x.geometry)
    y = representative(x)
    return (int(y.shape[-1]),) * int(y.shape[0])


def check_grids(guards: Guards, arguments: Sequence[CallArgument]) -> None:
    """Check that inputs on one domain have one number of points on each axis.

    Raises:
        OpError: OP0906, they have not.
    """
    grids = guards.grids(arguments)
    root_sizes = roots(guards.sources, grids)
    domains = [x.space.domain for x in guards.graph.inputs] + [x.domain for x in guards.side_inputs]
    for name, domain, grid in zip(guards.names, domains, grids, strict=True):
        expected = domain.at(root_sizes)
        if grid != expected:
            first = guards.names[guards.sources[domain.declared[0].name].port or 0]
            message = (
                f"`{first}` and `{name}` differ in size: `{domain}` has "
                f"{size_text(expected)} points from `{first}`, `{name}` has {size_text(grid)}"
            )
            cure = (
                f"give coordinates for {size_text(expected)} points"
                if domain.scattered
                else f"resample `{name}` to {size_text(expected)}"
            )
            ports = {x.name: x for x in guards.graph.inputs}
            if name in ports:
                raise guards.refuse("OP0906", ports[name], message, (cure,))
            raise fault("OP0906", message, helps=(cure,), file=guards.graph.name)


def check_side_input(guards: Guards, ask: SideInput, x: CallArgument) -> None:
    """Check coordinates (points, d), of each sample or for all, or a static field (*grid).

    Raises:
        OpError: OP0903, the number of points is not promised; OP0905, they are not real
            floating-point numbers; OP0907, they have another shape.
    """
    y = representative(x)
    if not y.dtype.is_floating_point:
        message = (
            f"`{ask.name}` holds {dtype_name(y)} numbers, expected real floating-point numbers"
        )
        cure = f"convert it: `{ask.name}.float()`"
        raise fault("OP0905", message, helps=(cure,), file=guards.graph.name)
    if isinstance(x, Coordinates):
        _check_coordinates(guards, ask, x)
    elif not _fits_domain(ask, y):
        raise wrong_coordinates(guards, ask, f"the shape {shape_text(y)}")


def _check_coordinates(guards: Guards, ask: SideInput, x: Coordinates) -> None:
    per_sample = ask.domain.geometry == "per_sample"
    misfits = [y.points for y in x.geometry if y.points.shape[-1] != ask.domain.ambient]
    if misfits:
        raise wrong_coordinates(guards, ask, f"points with {misfits[0].shape[-1]} coordinates")
    if len(x.geometry) > 1 and not per_sample:
        raise wrong_coordinates(guards, ask, f"coordinates for {len(x.geometry)} samples")
    if not x.listed and len({len(y) for y in x.geometry}) > 1:
        raise wrong_coordinates(guards, ask, "samples of different sizes")
    for n in sorted({len(y) for y in x.geometry}):
        promise = broken_promise(ask.domain.axes[0], n, 1)
        if promise:
            message = f"`{ask.name}` has {n} points; `{guards.graph.name}` promises {promise}"
            helps = (NO_POINTS,) if n == 0 else ()
            raise fault("OP0903", message, helps=helps, file=guards.graph.name)


def wrong_coordinates(guards: Guards, ask: SideInput, met: str) -> OpError:
    """Make OP0907: coordinates or a static field have the wrong shape, which `met` describes."""
    role = "the coordinates of its points" if ask.what == "coordinates" else "a static field"
    message = f"`{ask.name}` has {met}, expected {_expected_shape(ask)}"
    return fault("OP0907", message, notes=(f"`{ask.name}` is {role}",), file=guards.graph.name)


def _fits_domain(ask: SideInput, x: Tensor) -> bool:
    lead = x.shape[: max(0, x.ndim - ask.domain.dims)]
    return ask.domain.dims <= x.ndim <= ask.domain.dims + 2 and all(n == 1 for n in lead)


def _expected_shape(ask: SideInput) -> str:
    if ask.what == "field":
        return f"({', '.join(x.name for x in ask.domain.axes)})"
    shared = f"(points, {ask.domain.ambient})"
    batched = f" or (batch, points, {ask.domain.ambient})"
    return shared + batched * (ask.domain.geometry == "per_sample")
