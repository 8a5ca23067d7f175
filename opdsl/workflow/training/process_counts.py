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
    """Refuse settings that need whole weights or a single process.

    Raises:
        OpError: OP0806.
    """
    if settings.parallel.strategy != "fsdp":
        return
    kind = settings.optimizer.kind
    entry = OPTIMIZERS.find(kind)
    reasons = [
        (f"optimizer {kind}", (entry is not None and entry.repeats) or kind == "muon"),
        ("incremental", settings.incremental.start is not None),
        ("band", settings.band.of is not None),
        ("memory", settings.memory is not None),
    ]
    for name, refused in reasons:
        if refused:
            raise _unsuitable(name)


def _unsuitable(name: str) -> OpError:
    message = f"`{name}` needs whole weights, and `parallel.strategy = fsdp` divides them"
    helps = ("set `parallel.strategy = ddp`",)
    return fault("OP0806", message, helps=helps, file="parallel.strategy")
