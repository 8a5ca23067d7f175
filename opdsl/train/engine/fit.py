"""`fit`: train a module on samples, with metrics and checkpoints in a run folder.

A run that was killed, interrupted or starved of disk continues bit for bit: everything that changes
(weights, optimizer, scale, random generators, position) is in every checkpoint, and the rest (the
order of samples, the learning rate) is a function of seed, epoch and step.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn

from opdsl.diagnostics import fault
from opdsl.nn.module_tree import called_parts, module_at
from opdsl.parallel.agreement import copy_from_first, first_does
from opdsl.parallel.mesh import ALONE, ProcessMesh
from opdsl.train.config.changes import Change
from opdsl.train.config.schema import Settings
from opdsl.train.config.symmetries import Symmetry
from opdsl.train.engine.callbacks import Callback, Callbacks, checked_callbacks
from opdsl.train.engine.device import device_of
from opdsl.train.engine.forward.recompute import recomputed_parts, recomputes_calls
from opdsl.train.engine.forward.training_forward import TrainingForward
from opdsl.train.engine.limits.memory import PlansMemory, planned_memory
from opdsl.train.engine.loader import AnySampleSet, DeviceLoader
from opdsl.train.engine.loop import Training
from opdsl.train.engine.precision import policy_with_nodes
from opdsl.train.engine.randomness import seed_everything
from opdsl.train.engine.rates import Rate
from opdsl.train.engine.rollout import Rollout
from opdsl.train.engine.signals import SignalWatch
from opdsl.train.engine.step import TrainStep
from opdsl.train.engine.weights.averages import WeightAverage
from opdsl.train.engine.weights.paths import freeze, parameters_of
from opdsl.train.losses import LOSSES
from opdsl.train.losses.expressions.objective import MetricExpressions
from opdsl.train.losses.objective import Objective
from opdsl.train.losses.objective.band import BandObjective
from opdsl.train.losses.objective.named import NamedObjective
from opdsl.train.metrics.error_sums import Metrics
from opdsl.train.metrics.evaluate import grids_of
from opdsl.train.metrics.norms import GridAxes
from opdsl.train.metrics.quadrature import Samplings
from opdsl.train.optimizers import OPTIMIZERS
from opdsl.train.run.checkpoint import CheckpointStore
from opdsl.train.run.folder import lock, refuse_other_run
from opdsl.train.run.listener import Listener, SilentListener
from opdsl.train.run.metrics_log import MetricsLog, MetricsRow, validation
from opdsl.train.run.saving import Checkpoints, LocalCheckpoints
from opdsl.train.scaling.normalise import Normaliser
from opdsl.train.scaling.statistics import PointRules

SIGNAL_PAUSE = 5.0  # seconds, see `SignalWatch`


@dataclass(frozen=True, slots=True)
class FitResult:
    """Result of a finished run; the module holds the last weights, or their mean.

    Attributes:
        run: its folder.
        epochs, steps, skipped: how many of each, over all sittings.
        history: the rows of metrics.jsonl.
        metrics: the last errors on the validation data, if there are some.
        best: the smallest relative L2 error on them, or loss of a band; its epoch.
        normaliser: what `predict` and `evaluate` need beside the module.
        notes: messages about what went wrong without stopping the run.
        changes: settings that changed during the run.
    """

    run: Path
    epochs: int
    steps: int
    skipped: int
    history: list[MetricsRow]
    metrics: Metrics | None
    best: float | None
    best_epoch: int | None
    normaliser: Normaliser
    notes: tuple[str, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class FrozenPart:
    """The predictor around which a band is learnt: a part of the module that is not trained.

    Attributes:
        paths: of its submodules.
        normaliser: of the run that trained it, without which it is another operator.
    """

    paths: tuple[str, ...]
    normaliser: Normaliser


def fit(  # noqa: PLR0913  the contract with the callers
    module: nn.Module,
    train: AnySampleSet,
    valid: AnySampleSet | None,
    settings: Settings,
    run: Path,
    *,
    meta: Mapping[str, str],
    axes_of: Mapping[str, GridAxes] | None = None,
    periodic: Mapping[str, tuple[bool, ...]] | None = None,
    lengths: Mapping[str, tuple[float, ...]] | None = None,
    samplings: Samplings | None = None,
    rules: PointRules | None = None,
    resume: bool = False,
    listener: Listener | None = None,
    loop: Rollout | None = None,
    frozen: FrozenPart | None = None,
    choice: str = "",
    symmetries: Sequence[Symmetry] = (),
    callbacks: Sequence[Callback] = (),
    objective: Objective | None = None,
    expressions: MetricExpressions | None = None,
    mesh: ProcessMesh = ALONE,
    plan_memory: PlansMemory | None = None,
) -> FitResult:
    """Train `module` on `train`, in the folder `run`.

    Args:
        module: takes inputs by name, (batch, channels, *grid), returns a tensor or a dictionary.
        train: training samples.
        valid: validation samples, which choose the best weights; without them the last ones count.
        settings: of the run.
        run: folder of metrics and checkpoints.
        meta: strings stored in every checkpoint; a run resumes only with an equal `meta["arch"]`.
        axes_of: for each output the axes of its grid (H1).
        periodic: for each output not in `axes_of`, which axes of its grid are periodic.
        lengths: for each output, the lengths of its axes (H1); 1 if not given.
        samplings: of inputs and outputs on a sphere, see `opdsl.train.metrics.quadrature`.
        rules: of the axes of the grid of each input and output, for statistics of points and of
            samples; see `opdsl.train.scaling.axis_rules`.
        resume: continue the run in the folder, or begin if it has no checkpoint yet.
        listener: is told of the progress.
        loop: the rollout, if the truth has an axis of time.
        frozen: the trained part around which a band is learnt.
        choice: the validation data in words, for the listener.
        symmetries: by which each batch is transformed at random; see `RandomSymmetries`.
        callbacks: objects whose hooks the run calls.
        objective: the loss of a batch; by `settings.loss` and `settings.band` if not given.
        expressions: more metrics of the validation data.
        mesh: of the processes that train the module together, all of which call `fit` with equal
            arguments; the first one writes the folder, calls `callbacks` and tells the listener.
            With `mesh.space` above 1, the gradients of the module are those of `sum_gradients`.
        plan_memory: plans a step within `settings.memory`; None: without a limit.

    Returns:
        The result of the run; its `history` is complete in the first process.

    Raises:
        OpError: OP0604 the loss does not suit the outputs; OP0613 no samples; OP0620 the loss
            diverged; OP0621 all checkpoints are damaged; OP0622, OP0623 the precision or the device
            is not there; OP0624 the folder is in use; OP0625 the disk refuses; OP0626 another
            program or other data; OP0629 a setting must not change; OP0630 out of memory; OP0670,
            OP0671 statistics or maps do not suit the samples; OP0730 a path names no weight; OP0731
            a setting needs validation data; OP0740 a callback cannot be called; OP0741 a callback
            raised an exception; OP0840 the folder is another one for some processes.
        Interrupted: a signal stopped the run; a checkpoint has been written.
    """
    hooks = Callbacks(checked_callbacks(callbacks), first=mesh.writes)
    grids = grids_of(train, periodic or {}, lengths or {}, loop, axes_of)
    _refuse_no_samples(train)
    _refuse_no_validation(valid, settings)
    if objective is None:
        objective = objective_of(settings, grids, banded=frozen is not None)
    with ExitStack() as stack:
        first_does(mesh, lambda: _enter_folder(stack, run, resume=resume))
        watch = stack.enter_context(SignalWatch(SIGNAL_PAUSE if mesh.world > 1 else 0.0))
        normaliser = (
            frozen.normaliser
            if frozen
            else _shared_normaliser(
                mesh,
                partial(normaliser_of, train, settings, loop, samplings, rules, axes_of or {}),
            )
        )
        train_step = train_step_of(
            module, normaliser, settings, grids, loop, frozen, objective, mesh=mesh
        )
        units = train_step.units
        store = CheckpointStore(run, settings.checkpoint.keep)
        checkpoints = _checkpoints_of(store, mesh)
        stack.callback(checkpoints.close)
        stack.enter_context(recomputed_parts(module, settings, loop))
        reasons = stack.enter_context(
            planned_memory(plan_memory, train_step, train, settings, samplings)
        )
        training = Training(
            settings=settings,
            train_step=train_step,
            loader=DeviceLoader.of(train, train_step.policy, samplings, units),
            valid=None
            if valid is None
            else DeviceLoader.of(valid, train_step.policy, samplings, units),
            grids=grids,
            rate=Rate(
                settings.schedule, settings.optimizer.lr, steps_in_epoch(len(train), settings)
            ),
            store=store,
            checkpoints=checkpoints,
            metrics_log=MetricsLog(run),
            fingerprint=train.fingerprint,
            valid_fingerprint=None if valid is None else valid.fingerprint,
            meta=dict(meta),
            watch=watch,
            listener=listener if listener and mesh.writes else SilentListener(),
            choice=choice,
            symmetries=tuple(symmetries),
            expressions=expressions,
            callbacks=hooks,
            mesh=mesh,
        )
        stack.callback(training.listener.end)
        training.memory = reasons
        for loader in (training.loader, training.valid):
            if loader is not None:
                stack.callback(loader.close)
        training.begin(resume=resume)
        if settings.parallel.strategy == "ddp":
            copy_from_first(mesh, [*module.parameters(), *module.buffers()])
        training.finish()
        if train_step.average:
            train_step.average.keep()
        return _outcome(training)


def _shared_normaliser(mesh: ProcessMesh, compute: Callable[[], Normaliser]) -> Normaliser:
    """Compute a normaliser in the first process, and return it in all."""
    if mesh.world == 1:
        return compute()
    return Normaliser.from_state(first_does(mesh, lambda: compute().state_dict()))


def _checkpoints_of(store: CheckpointStore, mesh: ProcessMesh) -> Checkpoints:
    if mesh.checkpoint_group is None:
        return LocalCheckpoints(store)
    from opdsl.train.run.sharded.world import WorldCheckpoints  # torch's part takes a second

    return WorldCheckpoints.of(store, mesh.checkpoint_group)


def _refuse_no_samples(train: AnySampleSet) -> None:
    if len(train) == 0:
        raise fault("OP0613", "there are no samples to train on", file=train.name)


def _refuse_no_validation(valid: AnySampleSet | None, settings: Settings) -> None:
    plateau = settings.schedule.kind == "plateau"
    if valid is None and (plateau or settings.stop.patience is not None):
        name = "schedule plateau" if plateau else "stop"
        message = f"`{name}` needs validation data, and there are none"
        helps = ("keep some samples for validation: `data { valid = 0.1 }`",)
        raise fault("OP0731", message, helps=helps)


def steps_in_epoch(samples: int, settings: Settings) -> int:
    """Return the number of updates of the weights in an epoch."""
    return -(-samples // (settings.batch * settings.accumulate))


def normaliser_of(
    train: AnySampleSet,
    settings: Settings,
    loop: Rollout | None,
    samplings: Samplings | None,
    rules: PointRules | None,
    outputs: Iterable[str],
) -> Normaliser:
    """Compute the normaliser of a run from its training samples.

    Args:
        train, settings, loop, samplings, rules: as for `fit`.
        outputs: names of the outputs, where the samples have no truth.

    Raises:
        OpError: OP0670, OP0671 statistics or maps do not suit the samples.
    """
    scales = Normaliser.fit(train, settings.normalise, loop, samplings, rules, settings.maps)
    return scales.with_unscaled_outputs(outputs)


def objective_of(settings: Settings, grids: Mapping[str, GridAxes], *, banded: bool) -> Objective:
    """Return the objective of a loss that is set by its name, or of a band.

    Raises:
        OpError: OP0604, the loss needs derivatives, and an output has no grid.
    """
    loss = LOSSES.find(settings.loss)
    assert loss is not None  # the settings have refused other names
    flat = [name for name, grid in grids.items() if not grid.periodic]
    if flat and loss.needs_grid:
        message = (
            f"`loss = {settings.loss}` needs derivatives, and the output `{flat[0]}` has no grid"
        )
        raise fault("OP0604", message, helps=("use `loss = l2`",))
    return BandObjective(settings.band) if banded else NamedObjective(loss)


def _enter_folder(stack: ExitStack, run: Path, *, resume: bool) -> None:
    """Lock the folder, then look whether it may be used."""
    try:
        stack.enter_context(lock(run))
    except OSError as error:
        raise fault("OP0625", f"the run folder cannot be used: {error}", file=str(run)) from error
    if not resume:
        refuse_other_run(run)


def train_step_of(
    module: nn.Module,
    normaliser: Normaliser,
    settings: Settings,
    grids: Mapping[str, GridAxes],
    loop: Rollout | None,
    frozen: FrozenPart | None,
    objective: Objective,
    *,
    mesh: ProcessMesh = ALONE,
) -> TrainStep:
    """Seed, move module and normaliser to the device, and make the optimizer.

    Args:
        module: with its first weights.
        normaliser: of the training data.
        settings: of the run.
        grids: the grid of each output.
        loop: the rollout, if there are steps in time.
        frozen: the trained part around which a band is learnt.
        objective: the loss of a batch.
        mesh: of the processes that share each batch.
    """
    device = device_of(settings.device)
    policy = policy_with_nodes(settings.precision, settings.node_precision, device)
    seed_everything(settings.seed)
    policy.prepare_module(module)
    for path in frozen.paths if frozen else ():
        module_at(module, path).requires_grad_(requires_grad=False)
    freeze(module, settings)
    if mesh.data > 1 and settings.parallel.strategy == "fsdp":
        from opdsl.parallel.sharded_weights import shard_weights  # FSDP takes 1 s to import

        shard_weights(module, called_parts(module), mesh)
    entry = OPTIMIZERS.find(settings.optimizer.kind)
    assert entry is not None  # the settings have refused other names
    average = WeightAverage(settings.average, module) if settings.average.kind != "none" else None
    return TrainStep(
        module=module,
        normaliser=normaliser.to(policy.device, policy.weights),
        optimizer=entry.build(parameters_of(module, settings), settings.optimizer),
        scaler=policy.scaler(),
        policy=policy,
        grids=grids,
        objective=objective,
        clip=settings.clip,
        loop=loop,
        band=settings.band if frozen else None,
        frozen=frozen.paths if frozen else (),
        units=normaliser.units(loop),
        forward=TrainingForward(
            settings.noise, settings.pushforward, recomputes_calls(module, settings, loop)
        ),
        average=average,
        repeats=entry.repeats,
        mesh=mesh,
    )


def _outcome(training: Training) -> FitResult:
    position = training.at
    return FitResult(
        run=training.store.run,
        epochs=position.epoch,
        steps=position.step,
        skipped=position.skipped_before,
        history=training.history,
        metrics=training.metrics or _last_validated(training.history),
        best=position.best,
        best_epoch=position.best_epoch,
        normaliser=training.train_step.normaliser,
        notes=tuple(training.notes),
        changes=tuple(training.changes),
    )


def _last_validated(history: list[MetricsRow]) -> Metrics | None:
    """Return the last validation metrics of a resumed run that had no epoch left."""
    errors = [x for row in history if (x := validation(row))]
    return Metrics(**errors[-1]) if errors else None
