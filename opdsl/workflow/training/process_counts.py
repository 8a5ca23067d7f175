"""How many processes a run may have, by its settings and by the memory of the machine. No torch."""

from __future__ import annotations

from opdsl.diagnostics import OpError, fault
from opdsl.memory import free_memory
from opdsl.train.config.schema import Settings
from opdsl.train.optimizers import OPTIMIZERS

PROCESS = 260 << 20  # bytes that Python and torch take in each process, measured on Linux


def refuse_many(count: int) -> None:
    """Refuse more processes on this machine than its memory holds.

    Args:
        count: of the processes.

    Raises:
        OpError: OP0807.
    """
    free = free_memory()
    most = max(1, free // PROCESS)
    if count > most:
        message = f"{count} processes take at least {count * PROCESS / 1e9:.0f} GB, "
        message += f"and {free / 1e9:.1f} GB of memory are free"
        noun = "process" if most == 1 else "processes"
        helps = (f"start at most {most} {noun}",)
        raise fault("OP0807", message, helps=helps, file="--nproc")


def space_of(settings: Settings, world: int) -> int:
    """Return how many processes share a sample.

    Raises:
        OpError: OP0800, OP0801.
    """
    batch, space = settings.batch, settings.parallel.space_count
    if space is None:  # samples first: they need fewer exchanges
        space = world // max(x for x in range(1, world + 1) if not world % x and x <= batch)
    if world % space:
        message = f"{world} processes cannot be divided into groups of {space}, as "
        message += "`parallel.space` asks for"
        near = [x for x in (world // space * space, (world // space + 1) * space) if x]
        counts = " or ".join(map(str, near))
        helps = (f"start {counts} processes", f"or set `parallel.space` to a divisor of {world}")
        raise fault("OP0800", message, helps=helps, file="parallel.space")
    data = world // space
    if data > batch:
        samples = "1 sample" if batch == 1 else f"{batch} samples"
        message = f"{data} processes share a batch of {samples}, so that some have none"
        most = batch * space
        fewer = "train in one process" if most == 1 else f"start at most {most} processes"
        helps = (fewer, f"or set `batch` to {data} or more")
        raise fault("OP0801", message, helps=helps, file="batch")
    return space


def refuse_unsuitable(settings: Settings) -> None:
    """Refuse settings that need whole weights where processes divide them.

    Raises:
        OpError: OP0806, naming the first such setting, why it needs them, and what to do instead.
    """
    if settings.parallel.strategy != "fsdp":
        return
    kind = settings.optimizer.kind
    entry = OPTIMIZERS.find(kind)
    if kind == "muon":
        why = "it makes the gradient of each whole matrix orthogonal"
        raise _unsuitable("optimizer muon", why, "or `optimizer adamw`")
    if entry is not None and entry.repeats:
        why = "it takes inner products of the gradients of all weights"
        raise _unsuitable(f"optimizer {kind}", why, "or `optimizer adamw`")
    if settings.band.of is not None:
        why = "the prediction that the band surrounds is not trained, and stays whole"
        raise _unsuitable("band", why)
    if settings.memory is not None:
        why = "its plan measures one node after the other, with the weights of the whole model"
        more = "or leave `memory` out, and set `recompute = true`, or `accumulate` with a smaller "
        raise _unsuitable("memory", why, f"{more}`batch`")


def _unsuitable(name: str, why: str, *helps: str) -> OpError:
    message = f"`{name}` needs whole weights, and `parallel.strategy = fsdp` divides them"
    helps = ("set `parallel.strategy = ddp`", *helps)
    return fault("OP0806", message, notes=(why,), helps=helps, file="parallel.strategy")
