"""Held-out samples, for validation and tests: where they are, and at which resolutions to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from opdsl.data.derive.coarsen import Resolution
from opdsl.train.run.folder import ABOUT
from opdsl.workflow.datasets.binding import Binding
from opdsl.workflow.datasets.reading.paths import paths_in
from opdsl.workflow.datasets.reading.sources import Sources, parts_of
from opdsl.workflow.datasets.reading.streamed import AnySamples
from opdsl.workflow.folder.reading import no_run


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The place of samples that no weights are learnt from.

    Attributes:
        path: a file, a folder, or a data set in memory.
        split: part of a folder.
        last: the number of samples at the end to use, after `first` was applied; all if None.
        first: the number of samples at the beginning to use; all if None.
        windows: how many of these samples are windows of one trajectory. Longer rollouts of a test
            have fewer windows, and `first` and `last` then count the same trajectories.
    """

    path: str
    split: str | None = None
    last: int | None = None
    first: int | None = None
    windows: int = 1


def best_part(parts: Sequence[str]) -> str | None:
    """Return the part of a folder that is for tests, if it has one."""
    return next((x for x in ("test", "valid") if x in parts), None)


def held_out_in(path: str, split: str | None = None) -> HeldOut:
    """Return all held-out samples of a file, or of a part of a folder, `test` if not named."""
    return HeldOut(path, split or best_part(parts_of(path)))


def read_held_out(
    source: HeldOut, resolution: Resolution | None, binding: Binding, sources: Sources
) -> AnySamples:
    """Read held-out samples as the inputs and outputs of a model.

    Raises:
        OpError: OP0610 to OP0615.
    """
    samples = binding.read(sources, source.path, split=source.split, resolution=resolution)
    first, last = (_counted(x, source.windows, samples) for x in (source.first, source.last))
    samples = samples.first(first) if first else samples
    return samples.last(last) if last else samples


def _counted(count: int | None, windows: int, samples: AnySamples) -> int | None:
    """Convert a number of windows to that of the same trajectories in other samples."""
    if count is None or windows == samples.windows or count % windows:
        return count
    return count // windows * samples.windows


def read_sets(
    held_out: Sequence[HeldOut],
    resolutions: Sequence[Resolution],
    usual: Resolution | None,
    binding: Binding,
    sources: Sources,
) -> dict[str, AnySamples]:
    """Read the sets to be measured, by name, in the order of the resolutions.

    Args:
        held_out: where they are; without any the result is empty.
        resolutions: at which to read; without any, each file at `usual` if it has that, else as it
            is. Where samples are resampled, the first file has every resolution.
        usual: the resolution of training.
        binding: how fields become inputs and outputs.
        sources: data sets in memory.

    Raises:
        OpError: OP0610 to OP0615; OP0614 for a resolution that no file has.
    """
    sets: dict[str, AnySamples] = {}
    for source, resolution in _requests(held_out, resolutions, usual, binding, sources):
        if resolutions and binding.resample is not None:
            resampling = replace(binding, resample=resolution)
            samples = read_held_out(source, None, resampling, sources)
        else:
            samples = read_held_out(source, resolution, binding, sources)
        name = _free_name(samples.extent, source, sets)
        sets[name] = replace(samples, name=name)
    return sets


def _requests(
    held_out: Sequence[HeldOut],
    resolutions: Sequence[Resolution],
    usual: Resolution | None,
    binding: Binding,
    sources: Sources,
) -> list[tuple[HeldOut, Resolution | None]]:
    if resolutions and held_out and binding.resample is not None:
        return [(held_out[0], x) for x in resolutions]
    if resolutions and held_out:
        return [(_source_of(held_out, x, binding, sources), x) for x in resolutions]
    requests: list[tuple[HeldOut, Resolution | None]] = []
    for x in held_out:
        has = usual is not None and sources.has(
            x.path, x.split, usual, binding.layout, binding.data_map
        )
        requests.append((x, usual if has else None))
    return requests


def _source_of(
    held_out: Sequence[HeldOut], resolution: Resolution, binding: Binding, sources: Sources
) -> HeldOut:
    """Choose the file with exactly this resolution, else the first with a finer one."""
    just = (
        x
        for x in held_out
        if _same(sources.first(x.path, x.split, binding.data_map).resolution, resolution)
    )
    finer = (
        x
        for x in held_out
        if sources.has(x.path, x.split, resolution, binding.layout, binding.data_map)
    )
    # if none has it, reading the first one raises an error that lists its resolutions
    return next(just, None) or next(finer, held_out[0])


def _same(have: tuple[int, ...], want: Resolution) -> bool:
    return have == ((want,) * len(have) if isinstance(want, int) else tuple(want))


def _free_name(name: str, source: HeldOut, used: Mapping[str, object]) -> str:
    """Return `33x33`, or `test_33 33x33` if there is one already, then numbered."""
    names = [name, f"{Path(paths_in(source.path)[0]).stem} {name}"]
    names += [f"{names[1]} ({i})" for i in range(2, len(used) + 3)]
    return next(x for x in names if x not in used)


def tests_of(run: Path, about: Mapping[str, Any]) -> tuple[HeldOut, ...]:
    """Return where the test data of a run are.

    Raises:
        OpError: OP0627, `opdsl.json` names no data.
    """
    try:
        return tuple(HeldOut(**x) for x in about["data"]["tests"])
    except (LookupError, TypeError) as error:
        raise no_run(run, f"`{ABOUT}` names no data") from error


def valid_of(run: Path, about: Mapping[str, Any]) -> HeldOut | None:
    """Return where the validation data are; None without any, and for runs of earlier versions.

    Raises:
        OpError: OP0627, `opdsl.json` names no data.
    """
    try:
        valid = about["data"].get("valid")
        return HeldOut(**valid) if valid else None
    except (LookupError, TypeError, AttributeError) as error:
        raise no_run(run, f"`{ABOUT}` names no data") from error
