"""Settings that exclude each other, whatever the model and the data. No torch."""

from collections.abc import Iterator

from opdsl.train.config.schema import Settings
from opdsl.train.optimizers import OPTIMIZERS

Conflict = tuple[str, str, str]  # the setting, what is wrong, and a remedy


def conflicts(settings: Settings) -> Iterator[Conflict]:
    """Yield every setting that another one excludes."""
    yield from _of_optimizer(settings)
    yield from _of_rollouts(settings)
    yield from _of_validation(settings)
    for name, group in settings.weight_groups.items():
        if not group.paths:
            message = f"the group `{name}` says of no weight that it belongs to it"
            yield f"groups.{name}", message, 'name parts of the model: `paths = ["lift"]`'
    if settings.schedule.kind == "multistep" and not settings.schedule.milestones:
        message = "`schedule multistep` without milestones is a constant rate"
        yield "schedule.kind", message, "say when the rate drops: `milestones = [30, 60]`"
    if settings.memory and settings.recompute:
        message = "`recompute` with `memory`, which chooses what is computed again"
        yield "recompute", message, "leave one of them out"
    if settings.memory is not None and settings.patches.used:
        message = "`memory` with `patches`: a plan is one of a step on the whole grid"
        yield "memory", message, "leave `memory` out, and lower `patches.at_once`"
    if settings.band.of and settings.freeze:
        message = "`freeze` with `band`: a band trains the output of its width only"
        yield "freeze", message, "leave `freeze` out"


def _of_optimizer(settings: Settings) -> Iterator[Conflict]:
    kind = settings.optimizer.kind
    entry = OPTIMIZERS.find(kind)
    if entry is None or not entry.repeats:
        return
    reason = f"`optimizer {kind}` evaluates the loss several times in a step"
    if settings.clip is not None:
        message = f"`clip` with `optimizer {kind}`: a clipped gradient is not that of the loss"
        yield "clip", message, "leave `clip` out: the line search bounds the step"
    if settings.groups:
        yield "groups", f"`groups` with `optimizer {kind}`, which has one rate", "leave it out"
    if settings.precision.startswith("fp16"):
        message = f"`precision = {settings.precision}` scales the loss, and {reason}"
        yield "precision", message, "use `precision = bf16` or `fp32`"


def _of_rollouts(settings: Settings) -> Iterator[Conflict]:
    if settings.rollout is not None:
        return
    help_text = "set `rollout` to the number of steps in time, or leave it out"
    if settings.pushforward != "none":
        yield "pushforward", "`pushforward` needs a rollout in training", help_text
    if settings.curriculum.start is not None:
        yield "curriculum", "`curriculum` needs a rollout in training", help_text


def _of_validation(settings: Settings) -> Iterator[Conflict]:
    if settings.data.valid != "none":
        return
    help_text = "keep some samples for validation: `data { valid = 0.1 }`"
    if settings.schedule.kind == "plateau":
        message = "`schedule plateau` needs validation data, and `data.valid` is none"
        yield "schedule.kind", message, help_text
    if settings.stop.patience is not None:
        message = "`stop` needs validation data, and `data.valid` is none"
        yield "stop.patience", message, help_text
