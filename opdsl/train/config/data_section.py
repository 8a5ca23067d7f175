"""The section `data` of the settings: which samples a run learns from."""

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from opdsl.train.config.section import FIXED, FREE, MOVED, AtLeastOne, Portion, Section, nothing

UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
SIZE = rf"^[0-9]+(\.[0-9]+)? ({'|'.join(UNITS)})$"

CoordinateCheck = Literal["check", "warn", "ignore"]

NO_PATHS = ("auto", "none", "test")  # values of `data.valid` that are words


def _named_none(value: Any) -> Any:
    """Convert an empty value of YAML to the word `none`."""
    return "none" if value is None else value


def joined_paths(value: Any) -> Any:
    """Write a list of paths, which are one data set, as the text of a JSON list."""
    texts = isinstance(value, list | tuple) and all(isinstance(x, str) for x in value)
    return json.dumps(list(value), ensure_ascii=False) if value and texts else value


def _joined_sets(value: Any) -> Any:
    """Write each list among several data sets as `joined_paths` does."""
    return [joined_paths(x) for x in value] if isinstance(value, list) else value


def _path_or_word(value: Any) -> Any:
    """Read `data.valid`: an empty value of YAML is the word `none`, a list is one data set."""
    return joined_paths(_named_none(value))


WindowKey = Literal["first", "steps", "stride", "every", "history"]


def _window(value: dict[str, int] | None) -> dict[str, int] | None:
    """Refuse windows of no steps."""
    if any(x < (k != "first") for k, x in (value or {}).items()):
        raise ValueError("`first` is at least 0, the others are at least 1")
    return value


class Data(Section):
    """`data darcy { path = "x.h5" resolution = 85 }`: which samples to learn from.

    Attributes:
        kind: the layout of the file, such as `pdebench`, which it then has to have, or any name of
            the problem; `auto` looks into the file.
        path: the training file, a folder, a pattern of names, or a list of these, in this order.
        valid: what chooses the best weights: a file or a list, a part of the training samples
            between 0 and 1, of which the last ones are taken, or `none`, and the last weights are
            used. `auto` is the `valid` part of a folder, else a tenth of the training samples.
            `test` lets the test data choose, as in runs of earlier versions.
        test: the test file or files, measured once at the end; each of a list is a set of its own,
            and a list in it is one set of several files.
        resolution: points on each axis to train at, every k-th of the file; as in the file if not
            given.
        resample: points on each axis, or a list with those of each, of another grid on which the
            data are evaluated by the series of each axis; training and test data alike. It comes
            after `resolution`, and `eval.resolutions` are reached the same way.
        skip: samples of `path` to leave out at its beginning, as where others learnt from them.
        samples: samples of `path` to use, those for validation among them; all if not given.
        test_samples: test samples to use, all if not given; without `test` so many of the last
            samples of `path` are kept for testing.
        fields: which field of the file is which input and output, by name; `none` for an input
            that comes back and begins at zero, and for an output that the file does not have.
        axes: what the axes of an array are, by its name or that of the input or output: `sample`,
            `time`, `channel`, `point`, `coordinate` or the name of an axis of the domain.
        windows: how trajectories become samples: `first` time that is an input, `steps` after it
            that are outputs, `stride` stored times in a step, `every` so many stored times, with a
            `history` of so many times in the input; without it times are channels.
        start: steps in time to leave out at the beginning, as where a file repeats its input.
        coordinates: whether the coordinates and boundary conditions that a file states have to be
            those of the domain: `check` refuses a difference, `warn` reports it, `ignore` takes the
            values as they are.
        memory: size of a data set, in float32, up to which it is kept in memory; a larger one is
            read batch by batch, with equal results.
        workers: processes that read batches ahead of their use; 0 reads them when they are used.
        masks: for an input or output the array that is 1 where a value counts and 0 where it does
            not, or the reverse with `~` before its name: `masks { u = "~land" }`.
        missing: what becomes of values that are NaN: `refuse`, or `mask`, which leaves them out of
            losses, statistics and errors.
        fill: the value of an input where it is masked: a number, or the `mean` of the channel over
            the other points of the sample.
    """

    kind: Annotated[str, FIXED] = "auto"
    path: Annotated[str | None, BeforeValidator(joined_paths), MOVED] = None
    valid: Annotated[Portion | str, BeforeValidator(_path_or_word), MOVED] = "auto"
    test: Annotated[str | list[str] | None, BeforeValidator(_joined_sets), MOVED] = None
    resolution: Annotated[AtLeastOne | None, FIXED] = None
    resample: Annotated[
        Annotated[int, Field(ge=2)] | list[Annotated[int, Field(ge=2)]] | None,
        BeforeValidator(nothing),
        FIXED,
    ] = None
    skip: Annotated[int, Field(ge=0), FIXED] = 0
    samples: Annotated[AtLeastOne | None, FIXED] = None
    test_samples: Annotated[AtLeastOne | None, FIXED] = None
    fields: Annotated[dict[str, Any] | None, FIXED] = None
    axes: Annotated[dict[str, list[str]] | None, FIXED] = None
    windows: Annotated[dict[WindowKey, int] | None, AfterValidator(_window), FIXED] = None
    start: Annotated[int, Field(ge=0), FIXED] = 0
    coordinates: Annotated[CoordinateCheck, FREE] = "check"
    masks: Annotated[dict[str, Any] | None, FIXED] = None
    missing: Annotated[Literal["refuse", "mask"], FIXED] = "refuse"
    fill: Annotated[Literal["mean"] | float, FIXED] = "mean"
    memory: Annotated[str, Field(pattern=SIZE), FREE] = "512 MB"
    workers: Annotated[int, Field(ge=0, le=64), FREE] = 1

    @property
    def memory_bytes(self) -> int:
        """The setting `memory` in bytes."""
        number, unit = self.memory.split()
        return int(float(number) * UNITS[unit])
