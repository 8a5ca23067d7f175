"""The data of a run: found, read, bound to the ports of the model, split into training and tests.

What comes in: a graph, settings, paths as the user wrote them. What goes out: `Samples`, by the
names under which the metrics tell of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from opdsl.cli.console import warn
from opdsl.data.bind.binding import Mapped, bind_fields
from opdsl.data.bind.point_sets import PointsRequest
from opdsl.data.bind.samples import FieldRequest as DataPort
from opdsl.data.bind.samples import Fields, Samples, TimeSteps
from opdsl.data.bind.suspects import suspects_warning
from opdsl.data.derive.coarsen import Resolution
from opdsl.data.io.dataset import open_dataset
from opdsl.data.io.locate import SPLITS
from opdsl.diagnostics import OpError, fault
from opdsl.ir.graph import Graph, Port
from opdsl.ir.origins import completed
from opdsl.nn.points.batch import Values, numbers
from opdsl.train.config.schema import NO_PATHS, Data, Settings

BY_TEST = "the test data"  # the choice of validation data where `data.valid = test`
ABSENT = "none"  # the field of a port that the file does not have
HELD_OUT = 10  # one training sample in so many is kept for validation where nothing else is said


@dataclass(frozen=True, slots=True)
class Held:
    """Where samples come from that nothing is learnt from.

    Attributes:
        path: a file or a folder.
        split: part of a folder.
        last: only so many at the end, of the `first` ones if these are limited too.
        first: only so many at the beginning.
    """

    path: str
    split: str | None = None
    last: int | None = None
    first: int | None = None


@dataclass(frozen=True, slots=True)
class Division:
    """Which samples a run learns from, which choose its weights, and which it is tested on.

    Attributes:
        train: to learn from.
        valid: for validation, at the resolution of training; None if there are none, and where the
            test data choose.
        held: where those are.
        tests: where the test data are.
        choice: the validation data in words.
    """

    train: Samples
    valid: Samples | None
    held: Held | None
    tests: tuple[Held, ...]
    choice: str


@dataclass(frozen=True, slots=True)
class Binding:
    """How the fields of a file become inputs and outputs of a model.

    Attributes:
        fields: by the name of the port; `none` for what the file does not have.
        steps: in time, of the outputs and of the inputs that do not come back.
    """

    graph: Graph
    fields: Mapped | None = None
    steps: TimeSteps | None = None

    def __call__(self, fields: Fields) -> Samples:
        """Inputs and outputs; corrupt samples are warned of."""
        if doubt := suspects_warning(fields):
            warn([doubt])
        said = {k: v for k, v in (self.fields or {}).items() if v != ABSENT}
        found = self._bound(fields, self._outputs(), said)
        warn(found.warnings)
        return found

    def inputs(self, fields: Fields) -> Samples:
        """Inputs alone."""
        names = {x.name for x in self.graph.inputs} | {x.name for x in sites(self.graph)}
        said = {k: v for k, v in (self.fields or {}).items() if v != ABSENT and k in names}
        return self._bound(fields, (), said)

    def _bound(self, fields: Fields, outputs: Sequence[DataPort], said: Mapped) -> Samples:
        """An input that begins at zero is there too."""
        kept = [x for x in self.graph.inputs if x.name not in self.absent]
        found = bind_fields(fields, self._timed(kept), outputs, said, sites(self.graph))
        return replace(found, inputs=found.inputs | self._zeros(found))

    @property
    def absent(self) -> frozenset[str]:
        """Inputs that begin at zero.

        Raises:
            OpError: OP0604, one does not come back, so it would stay there.
        """
        said = {k for k, v in (self.fields or {}).items() if v == ABSENT}
        found = {x.name for x in self.graph.inputs} & said
        back = {x.input for x in self.graph.feedback}
        for name in sorted(found - back if self.steps else found):
            message = f"`data.fields.{name} = none`, but `{name}` "
            message += "does not come back" if self.steps else "comes back in a `rollout` only"
            helps = ("an input that comes back by `feedback` may begin at zero in a `rollout`",)
            raise fault("OP0604", message, helps=helps)
        return frozenset(found)

    @property
    def states(self) -> frozenset[str]:
        """Outputs that become inputs which begin at zero: what the model remembers."""
        return frozenset(x.output for x in self.graph.feedback if x.input in self.absent)

    def _outputs(self) -> list[DataPort]:
        """The outputs that the file has; those that become absent inputs need not be there."""
        mapping = self.fields or {}
        gone = {k for k, v in mapping.items() if v == ABSENT} | (self.states - set(mapping))
        return self._timed([x for x in self.graph.outputs if x.name not in gone])

    def _timed(self, of: Sequence[Port]) -> list[DataPort]:
        back = {x.input for x in self.graph.feedback}
        found = zip(ports(of), of, strict=True)
        return [x if y.name in back else replace(x, steps=self.steps) for x, y in found]

    def _zeros(self, samples: Samples) -> dict[str, Values]:
        if not self.absent:
            return {}
        axes = {x.name: x.space.domain.dims for x in self.graph.inputs}
        known = {k: numbers(x).shape for k, x in samples.inputs.items()}
        grids = {k: tuple(x[len(x) - axes[k] :]) for k, x in known.items()}
        sizes = completed(self.graph, grids)
        return {
            x.name: torch.zeros(1, x.space.channels, *sizes[x.name]).expand(
                len(samples), -1, *(-1 for _ in sizes[x.name])
            )
            for x in self.graph.inputs
            if x.name in self.absent
        }


def binding_of(graph: Graph, settings: Settings, *, testing: bool = False) -> Binding:
    """How the settings of a run want the data, for training or for tests.

    Raises:
        OpError: OP0604, something is said of steps in time where there is one step.
    """
    count = settings.rollout
    said = (("eval.rollout", settings.eval.rollout), ("data.start", settings.data.start))
    idle = [key for key, given in said if given and not count]
    if idle:
        message = f"`{idle[0]}` has no effect without `rollout`"
        raise fault("OP0604", message, helps=("`rollout = 16` learns sixteen steps in time",))
    if testing and count:
        count = settings.eval.rollout or count
    fields = dict(settings.data.fields or {})
    if settings.band.of:
        fields.setdefault(settings.band.width, ABSENT)
    return Binding(graph, fields, TimeSteps(count, settings.data.start) if count else None)


def ports(of: Iterable[Port]) -> list[DataPort]:
    """What the model wants of its inputs or outputs."""
    return [
        DataPort(
            x.name,
            x.space.channels,
            x.space.components,
            x.space.domain.dims,
            domain=x.space.domain.name,
            scattered=x.space.domain.scattered,
        )
        for x in of
    ]


def sites(graph: Graph) -> list[PointsRequest]:
    """What the model wants of its domains of points."""
    asked = {x.domain.name for x in graph.asks() if x.what == "coordinates"}
    return [
        PointsRequest(
            x.name,
            x.ambient,
            shared=x.geometry == "shared",
            required=x.name in asked,
            measure=x.measure or "uniform",
            period=x.period,
        )
        for x in graph.domains
        if x.scattered
    ]


def located(path: str, folder: Path) -> str:
    """The path from here if there is something, else from the folder of the program."""
    beside = folder / path
    return str(beside) if not Path(path).exists() and beside.exists() else path


# ------------------------------------------------------------------------------------- training


def divided(data: Data, folder: Path, binding: Binding, testing: Binding) -> Division:
    """The training samples, the validation samples, and where the test data are.

    Test samples that come from the training file are its last ones; validation samples from there
    are the last of the others.

    Args:
        data: `data.path` is given.
        folder: where relative paths may also start.
        binding, testing: how data are read for training, and for validation and tests.

    Raises:
        OpError: OP0610 to OP0615.
    """
    assert data.path is not None
    path = located(data.path, folder)
    parts = parts_of(path)
    split = "train" if "train" in parts else None
    tests = _told_tests(data, folder) or _test_part(path, parts, data)
    some = tests or (data.test_samples is None and data.valid != "test")
    count = data.skip + data.samples if some and data.samples else None
    samples = binding(open_dataset(path, split=split, resolution=data.resolution, samples=count))
    if data.skip >= len(samples):
        message = f"`data.skip = {data.skip}` leaves out all {len(samples)} samples"
        raise fault("OP0613", message, helps=("lower it",), file=path)
    samples = samples.last(len(samples) - data.skip) if data.skip else samples
    if not some:
        kept = _kept_for_tests(len(samples), path, data)
        tests = [Held(path, split, last=kept)]
        samples = samples.first(len(samples) - kept)
    samples = samples.first(data.samples or len(samples))
    return _validated(samples, Held(path, split), tests, data, folder, binding, testing)


def _validated(
    samples: Samples,
    source: Held,
    tests: Sequence[Held],
    data: Data,
    folder: Path,
    binding: Binding,
    testing: Binding,
) -> Division:
    """The division of the samples that are not for tests.

    Args:
        samples: of the file or folder `source`.
    """
    held, pool, count = _told_valid(data, source, folder), len(samples), 0
    valid = _read(held, data.resolution, testing) if held else None
    if held is None and (count := _number_of_valid(data, pool, source.path)):
        held = replace(source, first=data.skip + pool, last=count)
        same = binding.steps == testing.steps
        valid = samples.last(count) if same else _read(held, data.resolution, testing)
    if valid is not None:
        valid = replace(valid, name=valid.extent)
    train = samples.first(pool - count)
    return Division(train, valid, held, tuple(tests), _choice(data, held, len(valid or ()), pool))


def _told_valid(data: Data, source: Held, folder: Path) -> Held | None:
    """The validation data that are not taken from the training samples."""
    if data.valid == "auto":
        parts = parts_of(source.path) if source.split == "train" else ()
        return Held(source.path, "valid") if "valid" in parts else None
    if not isinstance(data.valid, str) or data.valid in NO_PATHS:
        return None
    path = located(data.valid, folder)
    return Held(path, "valid" if "valid" in parts_of(path) else None)


def _number_of_valid(data: Data, samples: int, path: str) -> int:
    """How many of the training samples are for validation, where no other data are."""
    if isinstance(data.valid, str):
        return samples // HELD_OUT if data.valid == "auto" else 0
    count = max(1, round(data.valid * samples))
    if count >= samples:
        message = f"`data.valid = {data.valid:g}` of {samples} samples leaves none to learn from"
        raise fault("OP0613", message, helps=("lower it",), file=path)
    return count


def _choice(data: Data, held: Held | None, count: int, pool: int) -> str:
    """Which data choose the weights, for people."""
    if data.valid == "test":
        return BY_TEST
    if held is None:
        few = f": {pool} training samples are too few to divide" if data.valid == "auto" else ""
        return f"none, so the last weights are used{few}"
    if held.last is not None:
        return f"{count} samples, the last of the {pool} of {held.path}"
    part = f", its part `{held.split}`" if held.split else ""
    return f"{count} samples of {held.path}{part}"


def _told_tests(data: Data, folder: Path) -> list[Held]:
    told = [data.test] if isinstance(data.test, str) else data.test or []
    return [_held(located(x, folder), data) for x in told]


def _held(path: str, data: Data) -> Held:
    return Held(path, _best_part(parts_of(path)), first=data.test_samples)


def _best_part(parts: Sequence[str]) -> str | None:
    """The part of a folder that is for tests."""
    return next((x for x in ("test", "valid") if x in parts), None)


def _test_part(path: str, parts: Sequence[str], data: Data) -> list[Held]:
    """The part of the training folder that is for tests."""
    part = _best_part(parts) if data.valid == "test" else "test" if "test" in parts else None
    found = part if "train" in parts else None
    return [Held(path, found, first=data.test_samples)] if found else []


def parts_of(path: str) -> tuple[str, ...]:
    """The parts (`train`, `valid`, `test`) of a folder of data."""
    homes = (Path(path) / "data", Path(path))
    return tuple(x for x in SPLITS if any((home / x).is_dir() for home in homes))


def _kept_for_tests(samples: int, path: str, data: Data) -> int:
    """How many of the last samples are test data."""
    count = data.test_samples or max(1, samples // HELD_OUT)
    if count >= samples:
        message = f"{count} of {samples} samples for testing leave none to learn from"
        raise fault("OP0613", message, helps=("lower `data.test_samples`",), file=path)
    if data.samples and data.samples > samples - count:
        message = f"{data.samples} samples to learn from and {count} to test on: there are only "
        raise fault("OP0613", message + str(samples), file=path)
    return count


# ---------------------------------------------------------------------------------------- tests


def read_tests(
    held: Sequence[Held],
    resolutions: Sequence[Resolution],
    usual: Resolution | None,
    binding: Binding,
) -> dict[str, Samples]:
    """The test sets by name, in the order of the resolutions.

    Args:
        held: where they are; none, and there are no test sets.
        resolutions: at which to test; if there are none, each file at `usual` if it has it, else
            as it is.

    Raises:
        OpError: OP0610 to OP0615; OP0614 for a resolution that no file has.
    """
    found: dict[str, Samples] = {}
    for source, resolution in _wanted(held, resolutions, usual):
        samples = replace(_read(source, resolution, binding), name="")
        name = _free_name(samples.extent, source, found)
        found[name] = replace(samples, name=name)
    return found


def _wanted(
    held: Sequence[Held], resolutions: Sequence[Resolution], usual: Resolution | None
) -> list[tuple[Held, Resolution | None]]:
    if not resolutions or not held:
        return [(x, usual if usual is not None and _has(x, usual) else None) for x in held]
    return [(_source_of(held, x), x) for x in resolutions]


def _source_of(held: Sequence[Held], resolution: Resolution) -> Held:
    """The file with just this resolution, else the first with a finer one."""
    just = (x for x in held if _same(first_of(x.path, x.split).resolution, resolution))
    finer = (x for x in held if _has(x, resolution))
    # where none has it, reading the first says what it has
    return next(just, None) or next(finer, held[0])


def _same(have: tuple[int, ...], want: Resolution) -> bool:
    return have == ((want,) * len(have) if isinstance(want, int) else tuple(want))


def _has(held: Held, resolution: Resolution) -> bool:
    try:
        open_dataset(held.path, split=held.split, resolution=resolution, samples=1)
    except OpError as error:
        if error.diagnostics[0].code == "OP0614":
            return False
        raise
    return True


def first_of(path: str, split: str | None) -> Fields:
    """The first sample of a file or a folder."""
    return open_dataset(path, split=split, samples=1)


def _read(held: Held, resolution: Resolution | None, binding: Binding) -> Samples:
    samples = binding(open_dataset(held.path, split=held.split, resolution=resolution))
    samples = samples.first(held.first) if held.first else samples
    return samples.last(held.last) if held.last else samples


def _free_name(name: str, source: Held, taken: Mapping[str, object]) -> str:
    """`33x33`, `test_33 33x33` if there is one already, then numbered."""
    names = [name, f"{Path(source.path).stem} {name}"]
    names += [f"{names[1]} ({i})" for i in range(2, len(taken) + 3)]
    return next(x for x in names if x not in taken)
