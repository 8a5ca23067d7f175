"""The division of data into samples for training, for validation and for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from opdsl.diagnostics import fault
from opdsl.train.config.data_section import NO_PATHS, Data
from opdsl.workflow.datasets.binding import Binding
from opdsl.workflow.datasets.held_out import HeldOut, best_part, read_held_out
from opdsl.workflow.datasets.reading.sources import Sources, located, parts_of
from opdsl.workflow.datasets.reading.streamed import AnySamples, head_of

BY_TEST = "the test data"  # the choice of validation data where `data.valid = test`
HELD_OUT_SHARE = 10  # one training sample in this many is for validation by default


@dataclass(frozen=True, slots=True)
class Division:
    """The division of the data of a run.

    Attributes:
        train: samples to learn from.
        valid: samples for validation, at the resolution of training; None if there are none, and
            where the test data choose the weights.
        held_out: where those are.
        tests: where the test data are.
        choice: the validation data in words.
    """

    train: AnySamples
    valid: AnySamples | None
    held_out: HeldOut | None
    tests: tuple[HeldOut, ...]
    choice: str


def divide(
    data: Data, folder: Path, binding: Binding, testing: Binding, sources: Sources
) -> Division:
    """Read the training and validation samples, and find the test data.

    Test samples that come from the training file are its last ones; validation samples from there
    are the last of the others.

    Args:
        data: the settings, with a `data.path`.
        folder: where relative paths may also start.
        binding: how data are read for training.
        testing: how data are read for validation and tests.
        sources: data sets in memory.

    Raises:
        OpError: OP0610 to OP0615.
    """
    return _Divider(data, folder, binding, testing, sources).divide()


@dataclass(frozen=True, slots=True)
class _Divider:
    """The arguments of `divide`, which its steps share."""

    data: Data
    folder: Path
    binding: Binding
    testing: Binding
    sources: Sources

    def divide(self) -> Division:
        data = self.data
        assert data.path is not None
        path = located(data.path, self.folder)
        parts = self._parts(path)
        split = "train" if "train" in parts else None
        tests = self._named_tests() or self._test_part(path, parts)
        some = tests or (data.test_samples is None and data.valid != "test")
        count = data.skip + data.samples if some and data.samples else None
        samples = self.binding.read(
            self.sources, path, split=split, resolution=data.resolution, samples=count
        )
        if data.skip >= len(samples):
            message = f"`data.skip = {data.skip}` leaves out all {len(samples)} samples"
            raise fault("OP0613", message, helps=("lower it",), file=path)
        samples = samples.last(len(samples) - data.skip) if data.skip else samples
        if not some and head_of(samples).outputs:
            test_count = _whole(samples, self._number_of_tests(len(samples), path))
            tests = [HeldOut(path, split, last=test_count, windows=samples.windows)]
            samples = samples.first(len(samples) - test_count)
        samples = samples.first(data.samples or len(samples))
        return self._with_validation(samples, HeldOut(path, split), tests)

    def _with_validation(
        self, samples: AnySamples, source: HeldOut, tests: Sequence[HeldOut]
    ) -> Division:
        """Divide the samples that are not for tests; they are from the file `source`."""
        data, pool, count = self.data, len(samples), 0
        held_out = self._named_validation(source)
        valid = self._read(held_out) if held_out else None
        if held_out is None and (count := self._number_of_valid(samples, source.path)):
            windows = samples.windows
            held_out = replace(source, first=data.skip + pool, last=count, windows=windows)
            same = self.binding.steps == self.testing.steps
            valid = samples.last(count) if same else self._read(held_out)
        if valid is not None:
            valid = replace(valid, name=valid.extent)
        train = samples.first(pool - count)
        choice = self._choice(held_out, len(valid or ()), pool)
        return Division(train, valid, held_out, tuple(tests), choice)

    def _parts(self, path: str) -> tuple[str, ...]:
        return self.binding.data_map.parts(path) or parts_of(path)

    def _read(self, source: HeldOut) -> AnySamples:
        return read_held_out(source, self.data.resolution, self.testing, self.sources)

    def _named_validation(self, source: HeldOut) -> HeldOut | None:
        """Return the validation data that are not part of the training samples."""
        valid = self.data.valid
        if valid == "auto":
            parts = self._parts(source.path) if source.split == "train" else ()
            return HeldOut(source.path, "valid") if "valid" in parts else None
        if not isinstance(valid, str) or valid in NO_PATHS:
            return None
        path = located(valid, self.folder)
        return HeldOut(path, "valid" if "valid" in parts_of(path) else None)

    def _number_of_valid(self, samples: AnySamples, path: str) -> int:
        """Return how many training samples are set aside for validation without other data."""
        valid, pool = self.data.valid, len(samples)
        if isinstance(valid, str):
            share = HELD_OUT_SHARE if head_of(samples).outputs else pool + 1
            return _whole(samples, pool // share) if valid == "auto" else 0
        count = _whole(samples, max(1, round(valid * pool)))
        if count >= pool:
            message = f"`data.valid = {valid:g}` of {pool} samples leaves none to learn from"
            raise fault("OP0613", message, helps=("lower it",), file=path)
        return count

    def _choice(self, held_out: HeldOut | None, count: int, pool: int) -> str:
        """Say which data choose the weights."""
        if self.data.valid == "test":
            return BY_TEST
        if held_out is None:
            auto = self.data.valid == "auto" and pool < HELD_OUT_SHARE
            few = f": {pool} training samples are too few to divide" if auto else ""
            return f"none, so the last weights are used{few}"
        if held_out.last is not None:
            return f"{count} samples, the last of the {pool} of {held_out.path}"
        part = f", its part `{held_out.split}`" if held_out.split else ""
        return f"{count} samples of {held_out.path}{part}"

    def _named_tests(self) -> list[HeldOut]:
        test = self.data.test
        paths = [test] if isinstance(test, str) else test or []
        return [self._test(located(x, self.folder)) for x in paths]

    def _test(self, path: str) -> HeldOut:
        return HeldOut(path, best_part(parts_of(path)), first=self.data.test_samples)

    def _test_part(self, path: str, parts: Sequence[str]) -> list[HeldOut]:
        """Return the part of the training folder that is for tests."""
        by_test = self.data.valid == "test"
        part = best_part(parts) if by_test else "test" if "test" in parts else None
        part = part if "train" in parts else None
        return [HeldOut(path, part, first=self.data.test_samples)] if part else []

    def _number_of_tests(self, samples: int, path: str) -> int:
        """Return how many samples at the end of the training file are test data."""
        data = self.data
        count = data.test_samples or max(1, samples // HELD_OUT_SHARE)
        if count >= samples:
            message = f"{count} of {samples} samples for testing leave none to learn from"
            raise fault("OP0613", message, helps=("lower `data.test_samples`",), file=path)
        if data.samples and data.samples > samples - count:
            message = (
                f"{data.samples} samples to learn from and {count} to test on: there are only "
            )
            raise fault("OP0613", message + str(samples), file=path)
        return count


def _whole(samples: AnySamples, count: int) -> int:
    """Round up to whole trajectories, so that no trajectory is on both sides of a division.

    Where there is one trajectory, its last windows are set aside.
    """
    windows = samples.windows
    rounded = -(-count // windows) * windows
    return rounded if rounded < len(samples) else count
