"""Refuse settings of a run that do not suit masked functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opdsl.data.bind.samples import Samples
from opdsl.diagnostics import fault
from opdsl.nn.points.batch import all_values
from opdsl.train.config.schema import Settings
from opdsl.train.config.symmetries import Symmetry
from opdsl.train.losses import LOSSES
from opdsl.train.metrics.norms import GridAxes
from opdsl.workflow.datasets.reading.streamed import AnySamples, StreamedSamples, head_of
from opdsl.workflow.losses.run_losses import RunLosses, outputs_with_derivatives


def refuse_masked_functions(
    settings: Settings,
    symmetries: Sequence[Symmetry],
    train: AnySamples,
    axes_of: Mapping[str, GridAxes],
    losses: RunLosses | None = None,
) -> None:
    """Refuse losses with derivatives, and random symmetries, where outputs are masked.

    Args:
        settings: of the run.
        symmetries: by which batches are transformed at random.
        train: the training samples.
        axes_of: for each output the axes of its grid, none on points and spheres.
        losses: the loss of the run, if it is an expression.

    Raises:
        OpError: OP0683.
    """
    # a sample without any truth is no domain with a hole: equations hold all over it
    head = head_of(train)
    unseen = isinstance(train, StreamedSamples)  # later samples may have other masks
    masked = [
        x
        for x in head.outputs
        if axes_of[x].periodic and ((unseen and x in head.weights) or _partly_masked(head, x))
    ]
    if not masked:
        return
    loss = LOSSES.find(settings.loss) if settings.loss.isidentifier() else None
    cause = "`missing = mask`" if settings.data.missing == "mask" else "`masks`"
    derived = outputs_with_derivatives(losses.terms) if losses else frozenset()
    masked = [x for x in masked if x in derived] or masked
    if (loss is not None and loss.needs_grid) or masked[0] in derived:
        message = f"`loss = {settings.loss}` takes derivatives, and `{masked[0]}` is masked"
        notes = (f"values that {cause} leaves out have no differences to their neighbours",)
        raise fault("OP0683", message, notes=notes, helps=("use `loss = l2`",), file=train.source)
    if symmetries:
        message = f"batches are transformed by `symmetries`, and `{masked[0]}` is masked"
        notes = ("masks are not transformed with the functions",)
        helps = ("leave `symmetries` out",)
        raise fault("OP0683", message, notes=notes, helps=helps, file=train.source)


def _partly_masked(samples: Samples, name: str) -> bool:
    """Return whether some sample of an output has values that count and values that do not."""
    weights = samples.weights.get(name)
    if weights is None:
        return False
    counts = all_values(weights) > 0
    each = counts.flatten(1)
    return bool((each.any(1) & ~each.all(1)).any())
