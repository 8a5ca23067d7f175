"""The processes of a run: joined where there are several, in agreement, arranged as a mesh."""

from __future__ import annotations

import hashlib
import json
import socket
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.distributed as dist

from opdsl.diagnostics import fault
from opdsl.ir.fingerprint import fingerprint
from opdsl.ir.graph import Graph
from opdsl.ir.sharding.choice import resolve_space
from opdsl.lower.module import OperatorModule
from opdsl.lower.patches.patched import PatchedModule
from opdsl.lower.sharded.running import shard
from opdsl.parallel.agreement import gathered_by_rank
from opdsl.parallel.mesh import ALONE, ProcessMesh
from opdsl.parallel.processes import join
from opdsl.summary.memory_check import sizes_at
from opdsl.train.config.schema import Settings
from opdsl.train.engine.device import device_of
from opdsl.version import VERSION
from opdsl.workflow.datasets.reading.streamed import AnySamples
from opdsl.workflow.training.process_counts import refuse_unsuitable, space_of

Facts = Mapping[str, str]


def mesh_of(graph: Graph, settings: Settings) -> ProcessMesh:
    """Arrange the processes of a run, if there are several, as its settings say.

    Raises:
        OpError: OP0800, OP0801, the processes cannot be divided so; OP0802, they disagree; OP0803,
            OP0804, they do not meet; OP0806, a setting needs a single process; OP0807, there are
            more processes than devices.
    """
    if not dist.is_initialized() and join() is None:
        return ALONE
    world = dist.get_world_size()
    if world == 1:
        return ALONE
    refuse_disagreement(
        {
            "the program": fingerprint(graph),
            "the settings": _digest(settings),
            "the version of opdsl": VERSION,
            "the version of torch": torch.__version__,
        }
    )
    refuse_unsuitable(settings)
    device = device_of(settings.device)
    _refuse_few_devices(settings.device, device)
    return ProcessMesh.of_world(space_of(settings, world), device.type)


def refuse_disagreement(own: Facts) -> None:
    """Refuse processes that differ in something that all must have in common.

    Args:
        own: what it is, and its value in this process.

    Raises:
        OpError: OP0802, in all processes, naming who differs in what.
    """
    all_facts = gathered_by_rank(dict(own))
    notes = []
    for name, value in all_facts[0].items():
        others = [rank for rank, facts in enumerate(all_facts) if facts.get(name) != value]
        if others:
            ranks = ", ".join(map(str, others[:8])) + (", ..." if len(others) > 8 else "")
            found = all_facts[others[0]].get(name, "none")
            noun = "process" if len(others) == 1 else "processes"
            notes.append(f"{name}: {value} in process 0, {found} in {noun} {ranks}")
    if notes:
        message = f"the processes of the run disagree on {notes[0].split(':')[0]}"
        helps = ("give all processes the same program, settings and files",)
        raise fault("OP0802", message, notes=tuple(notes), helps=helps, file="train")


def _digest(settings: Settings) -> str:
    text = json.dumps(settings.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _refuse_few_devices(name: str, device: torch.device) -> None:
    """Refuse processes without a CUDA device of their own.

    Raises:
        OpError: OP0807.
    """
    if device.type == "mps":
        message = "several processes cannot train on `mps`"
        raise fault("OP0807", message, helps=("set `device = cpu`",), file="device")
    if device.type != "cuda":
        return
    if ":" in name:
        message = f"`device = {name}` names one device for several processes"
        raise fault("OP0807", message, helps=("set `device = cuda`",), file="device")
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    places = gathered_by_rank((socket.gethostname(), uuid))
    (host, _), sharing = Counter(places).most_common(1)[0]
    if sharing > 1:
        count = sum(x == host for x, _ in places)
        devices = len({x for x in places if x[0] == host})
        noun = "device" if devices == 1 else "devices"
        message = f"{count} processes on `{host}` have {devices} CUDA {noun}"
        helps = ("start one process for each device", "or set `device = cpu`")
        raise fault("OP0807", message, helps=helps, file="device")


def folder_of_first(run: Path, mesh: ProcessMesh) -> Path:
    """Return the run folder of the first process, whose name contains its time."""
    return Path(gathered_by_rank(str(run))[0]) if mesh.world > 1 else run


def divide_grids(
    module: OperatorModule, graph: Graph, settings: Settings, mesh: ProcessMesh, train: AnySamples
) -> None:
    """Let the processes that share a sample compute the module together, if there are several.

    With `patches` each has some of the patches, otherwise a part of an axis.

    Args:
        module: of the run.
        graph: of the program.
        settings: of the run.
        mesh: the processes.
        train: the training samples, for whose grid the axis is chosen.

    Raises:
        OpError: OP0820, OP0821, OP0822, the grids cannot be divided so, OP0864, there are more
            processes than patches; in all processes.
    """
    if mesh.space == 1 or module.sharding is not None:
        return
    if isinstance(module, PatchedModule):
        module.share(mesh)
        return
    space = settings.parallel.space
    _, axis = resolve_space(module.graph, space, mesh.world, settings.batch)
    sharding = shard(module, mesh, axis).sharding
    assert sharding is not None  # there are several processes along "space"
    sharding.plan(sizes_at(graph, train.resolution), settings.batch, torch.float32)


def compute_alone(module: OperatorModule) -> None:
    """Let a process compute the module alone again."""
    module.sharding = None
    if isinstance(module, PatchedModule):
        module.share(ALONE)
