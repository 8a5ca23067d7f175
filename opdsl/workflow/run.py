"""A trained run from Python: predictions in physical units, weights, settings and metrics."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from opdsl.diagnostics import fault
from opdsl.ir.graph import Graph
from opdsl.lower.call_arguments import place
from opdsl.lower.module import OperatorModule
from opdsl.lower.tiles.tiling import Tiled
from opdsl.nn.points.batch import Values, changed, joined, picked
from opdsl.nn.points.geometry import Placed
from opdsl.nn.points.packed import Packed
from opdsl.train.config.schema import Settings
from opdsl.train.engine.device import device_of
from opdsl.train.engine.loader import FieldValues, Places, places_on_device
from opdsl.train.engine.precision import policy_of
from opdsl.train.metrics.calibrate import Calibration
from opdsl.train.metrics.evaluate import apply
from opdsl.train.run.metrics_log import read_metrics
from opdsl.workflow.arrays import as_given, as_was
from opdsl.workflow.calibration import CALIBRATION, stored_calibration, weights_of, with_edges
from opdsl.workflow.operator import Operator
from opdsl.workflow.rollout import loop_of
from opdsl.workflow.run_folder import read_run_folder
from opdsl.workflow.weights import trained_module

ABSENT = "none"  # `data.fields` of an input that no file holds


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """The errors of a run.

    Attributes:
        tests: on each test set, of the weights that the run kept.
        valid: the same on validation data.
        history: a row for each epoch, the oldest first.
        best_epoch: the epoch of the weights that the run kept, None if it kept the last.
    """

    tests: list[dict[str, Any]]
    valid: list[dict[str, Any]]
    history: list[dict[str, Any]]
    best_epoch: int | None


@dataclass(frozen=True, eq=False)
class Run:
    """A trained model with its weights; `opdsl.open_run` makes one.

    Attributes:
        folder: of the run.
        graph: of its program.
        settings: with which it was trained.
        operator: the trained model in physical units, a torch module.
        calibration: of the band around predictions; None if there is none of these weights.
        epoch: after which the weights were saved; None if no checkpoint says it.
        notes: what a user should know of the folder, a sentence each.
        about: the content of `opdsl.json`: versions, fingerprints, where the data are.
    """

    folder: Path
    graph: Graph
    settings: Settings
    operator: Operator
    calibration: Calibration | None = None
    epoch: int | None = None
    notes: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def module(self) -> OperatorModule:
        """The module alone, which takes and gives normalised values."""
        return self.operator.module

    @property
    def metrics(self) -> RunMetrics:
        """The errors at the end of training, and of each epoch."""
        history = read_metrics(self.folder)
        end = self.about.get("finished")
        if isinstance(end, Mapping):
            return RunMetrics(end["tests"], end["valid"], history, end["best_epoch"])
        row = next((x for x in history if x["epoch"] == self.epoch), {})
        tests = [{"set": k, **x} for k, x in row.get("tests", {}).items()]
        return RunMetrics(tests, [], history, self.epoch)

    def predict(
        self,
        /,
        *inputs: Any,
        batch: int | None = None,
        steps: int | None = None,
        tile: Mapping[str, int] | int | None = None,
        **named: Any,
    ) -> Any:
        """Apply the trained model to physical values, without gradients.

        Args:
            inputs: tensors or arrays (batch, channels, *grid), in the order of the model's inputs,
                or one dictionary of all. On points that each sample has of its own, a list with
                (channels, points) of each sample, or `Packed`.
            batch: samples at a time; as in training if not given.
            steps: steps in time of a model with feedback; as in training if not given. An input
                that no training file had begins at zero.
            tile: points of a tile on each axis, or by the name of the axis, for local models on
                large grids.
            named: inputs by name, and coordinates of points by the name of their domain: (points,
                d), (batch, points, d), a `Geometry`, or a list with one of these for each sample.

        Returns:
            (batch, channels, *grid) in physical units, (batch, steps, channels, *grid) with steps;
            a dictionary by name where there are several outputs, or a band, whose edges are
            `u_lower` and `u_upper`. Arrays of NumPy if the inputs are, else tensors on the device
            of the first input; a list for a list.

        Raises:
            OpError: OP0901 to OP0907, the inputs do not fit the program; OP0652, it cannot be
                applied in tiles.
        """
        positional: tuple[Any, ...] = inputs
        if len(inputs) == 1 and isinstance(inputs[0], Mapping):
            positional, named = (), {**inputs[0], **named}
        like = next(iter((*positional, *named.values())), None)
        positional, by_name = as_given(self.graph, positional, named)
        steps = steps or self.settings.rollout
        hidden: set[str] = set()
        if steps is None:
            given: dict[str, Any] = self.module.guards.by_name(positional, by_name)
            self._check(given)
        else:
            given, hidden = self._first_step(steps, positional, by_name)
        names = [x.name for x in self.graph.inputs]
        found = self.outputs(
            {k: given[k] for k in names},
            {k: _geometry(x) for k, x in given.items() if k not in names},
            model=self.in_tiles(tile),
            batch=batch,
            steps=steps,
            hidden=hidden,
        )
        outputs = {k: as_was(x, like) for k, x in found.items()}
        return outputs if len(outputs) > 1 else outputs.popitem()[1]

    def _first_step(
        self, steps: int, inputs: Sequence[Any], named: Mapping[str, Any]
    ) -> tuple[dict[str, Any], set[str]]:
        """The inputs of a rollout, and the outputs that nobody asked for: what the model remembers.

        Raises:
            OpError: OP0901 to OP0907.
        """
        guards = self.module.guards
        guards.check_loop(steps)
        absent = self._absent() - set(guards.names[: len(inputs)]) - set(named)
        first, timed = guards.begin(steps, inputs, {**named, **dict.fromkeys(absent)})
        for loop in self.graph.feedback:
            if loop.input in timed:
                message = f"`{loop.input}` comes back by feedback, so it has a value for the first "
                helps = (f"give that: `{loop.input}[:, 0]`",)
                raise fault("OP0904", f"{message}step only", helps=helps, file=self.graph.name)
        self._check(first | {k: x[:, 0] for k, x in timed.items()})
        return first | timed, {x.output for x in self.graph.feedback if x.input in absent}

    def _check(self, given: Mapping[str, Any]) -> None:
        """Refuse values that do not fit, before any of them is normalised."""
        guards, weight = self.module.guards, next(self.module.parameters(), None)
        like = torch.empty(()) if weight is None else weight
        put = _put(like)
        values = {
            k: changed(x, put) if isinstance(x, Tensor | Packed) else x for k, x in given.items()
        }
        guards.check(guards.bind((), values), weight)

    def in_tiles(self, tile: Mapping[str, int] | int | None) -> nn.Module:
        """Return the module, which runs on one tile after the other if there is a `tile`.

        Raises:
            OpError: OP0652.
        """
        return self.module if tile is None else Tiled(self.module, tile)

    def outputs(
        self,
        inputs: FieldValues,
        places: Places,
        *,
        model: nn.Module,
        batch: int | None = None,
        steps: int | None = None,
        hidden: Container[str] = (),
    ) -> dict[str, Values]:
        """Return what `predict` does, by name and on the CPU, for values that fit the program.

        Args:
            inputs: by name, (batch, channels, *grid) or packed; with steps, what has a value for
                each of them is (batch, steps, channels, *grid).
            places: where the points of domains are.
            model: of `in_tiles`.
            batch, steps: as for `predict`.
            hidden: outputs to leave out.
        """
        weight = next(self.module.parameters(), torch.empty(()))
        policy = policy_of(self.settings.precision, weight.device)
        loop, put, first = loop_of(self.graph, steps), _put(weight), torch.tensor([0])

        def some(rows: Tensor) -> FieldValues:
            fields = {k: changed(picked(x, rows), put) for k, x in inputs.items()}
            where = places_on_device(places, rows if len(rows) else first, weight.device)
            found = apply(model, self.operator.normaliser, fields, policy, loop, steps, where)
            return {k: changed(x, Tensor.cpu) for k, x in found.items()}

        mode = self.operator.training
        self.operator.eval()
        count = len(next(iter(inputs.values())))
        try:
            with torch.no_grad():
                size = batch or self.settings.batch
                parts = [some(x) for x in torch.split(torch.arange(count), size)]
        finally:
            self.operator.train(mode)
        whole = {k: joined([x[k] for x in parts]) for k in parts[0] if k not in hidden}
        return with_edges(self.calibration, whole)

    def _absent(self) -> set[str]:
        """Inputs that begin at zero, because no training file had them."""
        fields = self.settings.data.fields or {}
        return {x.name for x in self.graph.inputs if fields.get(x.name) == ABSENT}

    def __repr__(self) -> str:
        count = sum(x.numel() for x in self.module.parameters())
        when = "" if self.epoch is None else f" of epoch {self.epoch}"
        return f"<Run {self.folder}: model {self.graph.name}, {count:,} weights{when}>"


def _put(like: Tensor) -> Callable[[Tensor], Tensor]:
    """How a value comes to the device and into the number format of the weights."""
    real = like.dtype

    def put(x: Tensor) -> Tensor:
        return x.to(like.device, real.to_complex() if x.is_complex() else real)

    return put


def _geometry(x: Any) -> Placed:
    found = place(x)
    assert found is not None, "the guards let nothing else pass"
    return found.geometry


def open_run(
    folder: str | os.PathLike[str],
    *,
    last: bool = False,
    device: str = "cpu",
    precision: str | None = None,
) -> Run:
    """Open a trained run.

    Args:
        folder: of the run.
        last: take the last weights and not the best.
        device: where the operator is put: `cpu`, `cuda`, `auto` ...
        precision: as in the settings of a run; as it was trained if not given.

    Raises:
        OpError: OP0627, the folder is no run; OP0621, its weights are damaged; OP0622, OP0623, the
            precision or the device is not available here; what is wrong with its program.
    """
    found = read_run_folder(folder)
    settings = found.settings
    if precision is not None:
        settings = settings.model_copy(update={"precision": precision})
    policy = policy_of(settings.precision, device_of(device))
    module, trained = trained_module(found.folder, found.graph, last=last)
    calibration = stored_calibration(found.folder)
    notes: tuple[str, ...] = ()
    if calibration is not None and calibration.weights != weights_of(module):
        path = found.folder / CALIBRATION
        notes = (f"{path} is of other weights than these, so there is no band; calibrate again",)
        calibration = None
    policy.prepare_module(module)
    operator = Operator(module, trained.normaliser.to(policy.device, policy.weights))
    operator.eval()
    return Run(
        folder=found.folder,
        graph=found.graph,
        settings=settings,
        operator=operator,
        calibration=calibration,
        epoch=trained.epoch,
        notes=notes,
        about=found.about,
    )
