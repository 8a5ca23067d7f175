"""Open trained runs."""

from __future__ import annotations

import os

from opdsl.lower.module import OperatorModule
from opdsl.train.config.node_precision import NodePrecision
from opdsl.train.config.schema import Settings
from opdsl.train.config.settings import resolve
from opdsl.train.engine.device import device_of
from opdsl.train.engine.precision import PrecisionPolicy, policy_of
from opdsl.train.run.trained import WeightsInfo
from opdsl.workflow.folder.reading import RunFolder, read_run_folder
from opdsl.workflow.folder.weights import trained_module
from opdsl.workflow.programs.overrides import option
from opdsl.workflow.runs.calibration import CALIBRATION, stored_calibration, weights_of
from opdsl.workflow.runs.operator import Operator
from opdsl.workflow.runs.run import Run


def open_run(
    folder: str | os.PathLike[str],
    *,
    last: bool = False,
    device: str = "cpu",
    precision: str | None = None,
    coordinates: str | None = None,
) -> Run:
    """Open a trained run.

    Args:
        folder: of the run.
        last: take the last weights and not the best.
        device: where the operator is put: `cpu`, `cuda`, `auto` ...
        precision: as in the settings of a run; as it was trained if not given.
        coordinates: whether data files have to state those of the domain, `check`, `warn` or
            `ignore`; as it was trained if not given.

    Raises:
        OpError: OP0627, the folder is no run; OP0621, its weights are damaged; OP0604, there is no
            such precision, device or check; OP0622, OP0623, it is not available here; what is
            wrong with its program.

    >>> import opdsl
    >>> run = opdsl.open_run(RUN)
    >>> run.graph.name
    'Grid'
    """
    content = read_run_folder(folder)
    settings = with_precision(content.settings, device, precision)
    settings = _with_coordinates(settings, coordinates)
    policy = policy_of(settings.precision, device_of(device))
    module, info = trained_module(content.folder, content.graph, settings, last=last)
    return run_of(content, settings, policy, module, info)


def run_of(
    content: RunFolder,
    settings: Settings,
    policy: PrecisionPolicy,
    module: OperatorModule,
    info: WeightsInfo,
) -> Run:
    """Make the run of a folder from its module with weights, which is moved to its device."""
    calibration = stored_calibration(content.folder)
    notes: tuple[str, ...] = ()
    if calibration is not None and calibration.weights != weights_of(module):
        path = content.folder / CALIBRATION
        notes = (f"{path} is of other weights than these, so there is no band; calibrate again",)
        calibration = None
    module.node_precision = settings.node_precision.of(x.path for x in content.graph.nodes)
    policy.prepare_module(module)
    operator = Operator(module, info.normaliser.to(policy.device, policy.weights))
    operator.eval()
    return Run(
        folder=content.folder,
        graph=content.graph,
        settings=settings,
        operator=operator,
        calibration=calibration,
        epoch=info.epoch,
        notes=notes,
        about=content.about,
        device=str(policy.device),
    )


def with_precision(settings: Settings, device: str, precision: str | None) -> Settings:
    """Return the settings with another precision, which then is that of all nodes.

    Raises:
        OpError: OP0604, there is no device or precision of that name.
    """
    options = [option("--device", ("device",), device)]
    options += [option("--precision", ("precision",), precision)] if precision else []
    changed_settings = resolve(options).settings
    if precision is None:
        return settings
    changes = {"precision": changed_settings.precision, "node_precision": NodePrecision()}
    return settings.model_copy(update=changes)


def _with_coordinates(settings: Settings, coordinates: str | None) -> Settings:
    """Return the settings with another treatment of the coordinates of files.

    Raises:
        OpError: OP0604, it is none of the three words.
    """
    if coordinates is None:
        return settings
    changed = resolve([option("--coordinates", ("data", "coordinates"), coordinates)]).settings
    data = settings.data.model_copy(update={"coordinates": changed.data.coordinates})
    return settings.model_copy(update={"data": data})
