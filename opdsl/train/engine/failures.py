"""The errors that end a run whose numbers overflow or whose batch does not fit into memory."""

import torch

from opdsl.diagnostics import OpError, fault
from opdsl.nn.points.batch import all_values
from opdsl.train.config.schema import Settings
from opdsl.train.engine.loader import DeviceLoader
from opdsl.train.engine.step import StepResult, TrainStep, is_finite
from opdsl.train.engine.train_state import RunPosition
from opdsl.train.run.checkpoint import CheckpointStore

HUGE = 1e10  # beyond it, squares and products of layers overflow: no learning rate helps


def diverged(
    at: RunPosition,
    result: StepResult,
    steps: int,
    rows: torch.Tensor,
    advice: str,
    store: CheckpointStore,
) -> OpError:
    """Return the OP0620 for steps in a row without a finite loss and gradient.

    Args:
        at: the position of the run.
        result: of the last of these steps.
        steps: in an epoch.
        rows: the samples of the last step.
        advice: what to change.
        store: the checkpoints of the run.
    """
    kind = "gradient" if is_finite(result.loss) else "loss"
    message = f"{at.bad} steps in a row had no finite {kind}, the last in epoch {at.epoch + 1}"
    message += f", step {at.position} of {steps}"
    indices = ", ".join(str(i) for i in rows.tolist())
    notes = [f"samples of that step: {indices}"]
    notes += [f"the weights before are in {path}" for path in store.paths()[:1]]
    helps = ("look at these samples", advice)
    return fault("OP0620", message, notes=tuple(notes), helps=helps, file=str(store.run))


def cure(train_step: TrainStep, loader: DeviceLoader, rows: torch.Tensor) -> str:
    """Return advice: another unit for data that overflow in the model, else a lower rate."""
    batch = loader.take(rows)
    sides = {"inputs": train_step.encoded(batch.inputs), "outputs": batch.truth}
    for side, fields in sides.items():
        for name, x in fields.items():
            if float(all_values(x).abs().max()) > HUGE:
                text = f"the model sees `{name}` at values above {HUGE:g}: "
                return f"{text}set `normalise.{side} = channel`, or give it in another unit"
    return "lower `optimizer.lr`, or set `clip = 1.0`"


def too_large(settings: Settings, device: torch.device) -> OpError:
    """Return the OP0630 for a batch that does not fit into memory."""
    message = f"a batch of {settings.batch} does not fit into memory"
    helps = ("lower `batch`", "or train at a lower `data.resolution`")
    return fault("OP0630", message, file=str(device), helps=helps)
