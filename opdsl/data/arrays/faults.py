"""Diagnostics about arrays: each lists what the files hold and proposes what to write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from opdsl.data.arrays.axes import CHANNEL, SAMPLE, TIME, AxisNames, Target, described
from opdsl.diagnostics import OpError, did_you_mean, fault

if TYPE_CHECKING:
    from opdsl.data.arrays.listing import ArrayInfo
    from opdsl.data.arrays.parts import ArrayPiece, Files

MOST = 12  # arrays in a listing


def no_array(files: Files, target: Target, why: str) -> OpError:
    """Make OP0660: no array is known for an input or output."""
    names = list(dict.fromkeys(y for x in files.arrays for y in x))
    near = did_you_mean(target.name, names)
    example = next(iter(names), "array")
    cure = (
        f'`data {{ fields {{ {target.name} = "{example}" }} }}` names the array of `{target.name}`'
    )
    if target.mask:
        name = target.name.removeprefix("masks.")
        cure = f'`data {{ masks {{ {name} = "{example}" }} }}` names the mask of `{name}`'
    return fault(
        "OP0660",
        f"which array is {_role(target)} `{target.name}`? {why[0].upper()}{why[1:]}",
        notes=(f"the data hold {listed(files)}",),
        helps=(*near, cure),
        file=files.source,
    )


def ambiguous(
    files: Files, target: Target, piece: ArrayPiece, possible: Sequence[AxisNames]
) -> OpError:
    """Make OP0661: the axes of an array are not stated and can be read in several ways."""
    ways = " or ".join(described(x) for x in possible)
    return fault(
        "OP0661",
        f"the axes of `{piece.name}` {piece.stored} can be {ways}",
        notes=(f"it is for `{target.name}`, which is {wanted(target)}",),
        helps=tuple(_block(target, piece, x) for x in possible),
        file=files.source,
    )


def no_reading(files: Files, target: Target, piece: ArrayPiece) -> OpError:
    """Make OP0661: no meaning of the axes of an array fits its target."""
    guesses = [x for x in _guesses(target) if len(x) == len(piece.shape)]
    return fault(
        "OP0661",
        f"the axes of `{piece.name}` {piece.stored} are not stated, and none that "
        f"`{target.name}` takes fit",
        notes=(f"`{target.name}` is {wanted(target)}",),
        helps=tuple(_block(target, piece, x) for x in guesses)
        or ("change the space in the program",),
        file=files.source,
    )


def unknown_axis(files: Files, target: Target, axis: str, piece: ArrayPiece) -> OpError:
    """Make OP0661: the program names an axis that does not exist."""
    words = [SAMPLE, TIME, CHANNEL, *(target.places or ())]
    return fault(
        "OP0661",
        f"`{axis}` is no axis of `{target.name}`, which may have {', '.join(words)}",
        notes=(f"`{piece.name}` is {piece.stored}",),
        helps=did_you_mean(axis, words),
        file=files.source,
    )


def wrong_axes(files: Files, name: str, shape: Sequence[int], why: str) -> OpError:
    """Make OP0661: an array does not have the axes that it should have."""
    message = f"`{name}` {tuple(shape)} does not fit: {why}"
    helps = ("give its axes in the order of the file: `data { axes { ... } }`",)
    return fault("OP0661", message, helps=helps, file=files.source)


def wrong_channels(files: Files, target: Target, why: str, want: int | None) -> OpError:
    """Make OP0613: the arrays of a target have another number of channels than it."""
    takes = f"{target.channels} channel{'s' * (target.channels != 1)}"
    message = f"{why}, `{target.name}` of the model has {takes}"
    if want is not None and want != target.channels:
        message += f", {want} at each time"
    helps = ("change the space in the program, or name other arrays",)
    return fault("OP0613", message, helps=helps, file=files.source)


def disagree(files: Files, counts: Mapping[str, int | None], what: str) -> OpError:
    """Make OP0661: arrays differ in their number of samples or times."""
    numbers = ", ".join(f"`{k}` {n}" for k, n in counts.items())
    message = f"the arrays differ in their number of {what}: {numbers}"
    helps = (
        f"an index takes a part: `{next(iter(counts))}[:{min(filter(None, counts.values()))}]`",
    )
    return fault("OP0661", message, helps=helps, file=files.source)


def no_window(files: Files, have: int, before: int, after: int) -> OpError:
    """Make OP0662: trajectories are too short for the windows."""
    return fault(
        "OP0662",
        f"the data have {have} time{'s' * (have != 1)}, and a window needs {before + 1 + after}: "
        f"{before + 1} up to the input and {after} after it",
        helps=("lower `steps`, `stride`, `first` or `history` of `windows`",),
        file=files.source,
    )


def listed(files: Files) -> str:
    """List the arrays of the files with their shapes, the first of many."""
    rows: dict[str, ArrayInfo] = {}
    for path, arrays in zip(files.paths, files.arrays, strict=True):
        prefix = f"{path.name}/" if len(files.paths) > 1 else ""
        rows |= {f"{prefix}{k}": x for k, x in arrays.items()}
    texts = [f"`{k}` {x.shape}" for k, x in rows.items()]
    more = f", and {len(texts) - MOST} more" if len(texts) > MOST else ""
    return (", ".join(texts[:MOST]) or "no arrays") + more


def wanted(target: Target) -> str:
    """Describe the values of a target: `a function on (x, y) with 2 channels`."""
    channels = f"{target.channels} channel{'s' * (target.channels != 1)}"
    if target.kind == "grid":
        return f"a function on {described(target.grid)} with {channels}"
    if target.kind == "points":
        return f"a function on points with {channels}"
    if target.kind == "coordinates":
        return f"a set of points with {target.channels} coordinates"
    return f"a vector with {channels} for each sample"


def _role(target: Target) -> str:
    if target.mask:
        return "the mask"
    if target.kind == "coordinates":
        return "the domain"
    return "the output" if target.output else "the input"


def _guesses(target: Target) -> list[AxisNames]:
    places = target.places
    return [
        (SAMPLE, *places),
        (SAMPLE, TIME, *places),
        (SAMPLE, CHANNEL, *places),
        (SAMPLE, *places, CHANNEL),
        (SAMPLE, TIME, CHANNEL, *places),
        (SAMPLE, TIME, *places, CHANNEL),
        (*places, SAMPLE),
    ]


def _block(target: Target, piece: ArrayPiece, axes: AxisNames) -> str:
    name = piece.name if piece.name.isidentifier() else target.name
    return f"if so: `data {{ axes {{ {name} = {described(axes)} }} }}`"
