"""The samples of a run: read, divided, and tried on the model before training begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from opdsl.ir.graph import Graph
from opdsl.lower.module import OperatorModule
from opdsl.nn.points.batch import all_values, as_call_argument
from opdsl.summary.memory_check import refuse_too_large, sizes_at, step_bytes
from opdsl.train.config.schema import Settings
from opdsl.train.engine.device import device_of
from opdsl.train.engine.precision import policy_with_nodes
from opdsl.train.engine.rollout import Rollout
from opdsl.train.optimizers import OPTIMIZERS
from opdsl.workflow.datasets.binding import binding_of
from opdsl.workflow.datasets.division import BY_TEST, Division, divide
from opdsl.workflow.datasets.end_conditions import end_warnings_of
from opdsl.workflow.datasets.held_out import read_sets
from opdsl.workflow.datasets.reading.sources import Sources, located, parts_of
from opdsl.workflow.datasets.reading.streamed import AnySamples, head_of
from opdsl.workflow.errors import Warn, once
from opdsl.workflow.programs.node_precision import refuse_bad_node_precision
from opdsl.workflow.programs.patches import patch_at, refuse_bad_patches
from opdsl.workflow.programs.program import Program
from opdsl.workflow.runs.bands import refuse_bad_band
from opdsl.workflow.runs.rollout import loop_of
from opdsl.workflow.training.checks.transforms import refuse_unmapped


@dataclass(frozen=True, slots=True)
class RunSamples:
    """The samples of a run.

    Attributes:
        tests: by name; where there are no test data, the validation data at the resolutions of
            `eval.resolutions`.
        split: what `tests` contains, `test` or `valid` data.
        loop: the rollout, if there are steps in time.
    """

    division: Division
    tests: dict[str, AnySamples]
    split: str
    loop: Rollout | None

    @classmethod
    def read(
        cls,
        program: Program,
        settings: Settings,
        sources: Sources,
        warn: Warn,
        *,
        with_tests: bool = True,
    ) -> RunSamples:
        """Read the samples, after all checks that need no data; test data only `with_tests`."""
        graph, data, warn = program.graph, settings.data, once(warn)
        refuse_bad_node_precision(graph, settings)
        refuse_bad_patches(graph, settings)
        device = device_of(settings.device)
        policy_with_nodes(settings.precision, settings.node_precision, device)
        _refuse_too_large(graph, settings, program.folder, sources)
        loop = loop_of(graph, settings.rollout)
        refuse_bad_band(graph, settings)
        binding = binding_of(graph, settings, warn=warn)
        testing = binding_of(graph, settings, testing=True, warn=warn)
        division = divide(data, program.folder, binding, testing, sources)
        warn(end_warnings_of(graph, [division.train]))
        held_out, split = list(division.tests) if with_tests else [], "test"
        if not held_out and division.held_out and settings.eval.resolutions:
            held_out, split = [division.held_out], "valid"
        tests = read_sets(held_out, settings.eval.resolutions, data.resolution, testing, sources)
        valid = [division.valid] if division.valid is not None else []
        refuse_unmapped(settings, [*valid, *tests.values()])
        return cls(division, tests, split, loop)

    @property
    def valid(self) -> AnySamples | None:
        """The validation samples, which choose the best weights."""
        if self.division.choice == BY_TEST:
            return next(iter(self.tests.values()), None)
        return self.division.valid

    def try_(self, module: OperatorModule) -> None:
        """Apply the model to one sample of each set, so that errors come before the run."""
        valid = [self.division.valid] if self.division.valid is not None else []
        _try(module, [self.division.train, *valid, *self.tests.values()], self.loop)

    def to_measure(self) -> dict[str, dict[str, AnySamples]]:
        """Return the sets that are measured at the end, by split and by name."""
        valid = (
            {} if self.division.valid is None else {self.division.valid.name: self.division.valid}
        )
        if self.split == "valid":
            return {"valid": valid | self.tests, "test": {}}
        return {"valid": valid, "test": self.tests}


def _refuse_too_large(graph: Graph, settings: Settings, folder: Path, sources: Sources) -> None:
    """Raise OP0630 if the run needs too much memory, before data are read and weights are made."""
    data = settings.data
    assert data.path is not None
    path = located(data.path, folder)
    size = data.resolution if data.resample is None else data.resample
    if size is not None:
        dims = graph.inputs[0].space.domain.dims
        sizes = sizes_at(graph, (size,) * dims if isinstance(size, int) else tuple(size))
    else:
        data_map = binding_of(graph, settings).data_map
        part = "train" if "train" in (data_map.parts(path) or parts_of(path)) else None
        sample = sources.first(path, part, data_map)
        points = min((len(x[0]) for x in sample.places.values()), default=None)
        sizes = sizes_at(graph, sample.resolution, points)
    optimizer = OPTIMIZERS.find(settings.optimizer.kind)
    moments = optimizer.numbers(settings.optimizer) if optimizer else 0
    moments += settings.average.kind != "none"
    batch = settings.batch * (settings.rollout or 1)  # the gradient needs every step in time
    if settings.memory:
        batch = 1  # the planner divides batches
    helps: tuple[str, ...] = ("lower `batch`", "train at a lower `data.resolution`")
    if (on_patch := patch_at(graph, settings, sizes)) is not None:
        graph, sizes = on_patch
        batch = settings.patches.at_once or settings.batch
        helps = ("lower `patches.at_once`", *helps)
    parts = step_bytes(graph, sizes, batch, settings.precision, moments)
    refuse_too_large(graph.name, parts, free=_free(settings.device), helps=helps)


def _free(name: str) -> int | None:
    """Return the free bytes of a CUDA device; None for this machine's own memory."""
    device = device_of(name)
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def _try(module: OperatorModule, sets: Sequence[AnySamples], loop: Rollout | None) -> None:
    """Call the model on one sample of each set."""
    module.eval()
    with torch.no_grad():
        for samples in sets:
            sample = head_of(samples).first(1)
            with_steps = {k for k, x in sample.inputs.items() if loop and loop.timed(k, x)}
            inputs = {
                k: all_values(x)[:, 0] if k in with_steps else x for k, x in sample.inputs.items()
            }
            module(**inputs, **{k: as_call_argument(x) for k, x in sample.model_points.items()})
    module.train()
