"""The weights of a run, for evaluation, prediction and export.

They are in its checkpoints, and in `model.safetensors` for others: as `module.*` with the means and
deviations of the data as `normaliser.*`. Up to c7bf416 the file had the module alone, by bare
names, and `opdsl.json` the normaliser.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from opdsl.diagnostics import OpError, fault
from opdsl.files import read_json, read_regular
from opdsl.memory import free_memory
from opdsl.train.run.checkpoint import CheckpointStore, State, malformed, refuse_malformed
from opdsl.train.run.folder import ABOUT, WEIGHTS, refuse_links
from opdsl.train.scaling.normalise import Normaliser

Which = Literal["best", "last"]

MODULE, NORMALISER = "module.", "normaliser."  # before the names of weights


@dataclass(frozen=True, slots=True)
class WeightsInfo:
    """Information that is stored with the weights.

    Attributes:
        normaliser: for `evaluate` and `predict`.
        epoch: finished epochs; None where the run folder has no checkpoints any more.
        step: finished steps; None likewise.
        meta: the strings that `fit` was given.
    """

    normaliser: Normaliser
    epoch: int | None
    step: int | None
    meta: Mapping[str, str]


def load_trained(run: Path, module: nn.Module, which: Which = "best") -> WeightsInfo:
    """Put the weights of a run into `module`.

    Args:
        run: the run's folder.
        module: of the same program.
        which: the best by the first test set (the last, if there was none), or the last.

    Raises:
        OpError: OP0627 no run, OP0621 all damaged, OP0626 the weights do not fit the module.
    """
    return _load(run, trained_state(run, which), module)


def load_published(run: Path, module: nn.Module) -> WeightsInfo:
    """Put the weights of `model.safetensors` into `module`; checkpoints are not looked at.

    Args:
        run: the folder.
        module: of the same program.

    Raises:
        OpError: OP0627 no weights, OP0621 damaged, OP0626 the weights do not fit the module;
            OP0628, the folder contains a link.
    """
    refuse_links(run)
    state = _published(run)
    if state is None:
        raise fault("OP0627", f"there is no `{WEIGHTS}`", file=str(run))
    return _load(run, state, module)


def _load(run: Path, state: State, module: nn.Module) -> WeightsInfo:
    refuse_malformed(state, run)
    try:
        module.load_state_dict(state["module"])
    except RuntimeError as error:
        message = "the weights of the run do not fit the program"
        detail = (" ".join(str(error).split()),)
        raise fault("OP0626", message, notes=detail, file=str(run)) from error
    with malformed(run):
        normaliser = Normaliser.from_state(state["normaliser"])
    return WeightsInfo(normaliser, state["epoch"], state["step"], state["meta"])


def trained_state(run: Path, which: Which = "best") -> State:
    """Read the newest undamaged checkpoint: `module`, `normaliser`, `epoch`, `step`, `meta`.

    With the setting `average`, `module` has the mean of the weights.

    The best weights are also those of `model.safetensors`, where there are no checkpoints.

    Raises:
        OpError: OP0627, OP0621; OP0628, the folder contains a link.
    """
    refuse_links(run)
    store = CheckpointStore(run)
    best = store.load("best") if which == "best" else None
    state = best if best is not None else store.load("step")
    if state is None and which == "best":
        state = _published(run)
    if state is None:
        helps = ("`opdsl train PROGRAM --out FOLDER` makes one",)
        raise fault("OP0627", "there are no weights of a run", file=str(run), helps=helps)
    with malformed(run):
        return _with_mean(state)


def _with_mean(state: State) -> State:
    """Return a state whose module has the mean of the weights, where the run took one."""
    mean = state.get("average") or {}
    return state | {"module": {**state["module"], **mean["values"]}} if mean else state


def weights_file(module: nn.Module, normaliser: Normaliser) -> bytes:
    """Return the content of `model.safetensors`: weights of the module and of the normaliser."""
    from safetensors.torch import save

    parts = ((MODULE, module.state_dict()), (NORMALISER, normaliser.state_dict()))
    # copies: safetensors refuses tensors that share memory, as the deviation of a band's width does
    return save(
        {
            f"{p}{k}": x.detach().cpu().contiguous().clone()
            for p, weights in parts
            for k, x in weights.items()
        }
    )


def _published(run: Path) -> State | None:
    """Read the tensors of `model.safetensors`; None if there is no such file.

    Raises:
        OpError: OP0621, it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = run / WEIGHTS
    if not path.is_file():
        return None
    try:
        tensors = load(read_regular(path, free_memory() // 2))
        has_scales = any(x.startswith(f"{NORMALISER}scales.") for x in tensors)
        module = _below(MODULE, tensors) if has_scales else tensors
        scales = _below(NORMALISER, tensors) if has_scales else _earlier_normaliser(run)
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise _damaged(path) from error
    return {"module": module, "normaliser": scales, "epoch": None, "step": None, "meta": {}}


def _below(prefix: str, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): x for k, x in found.items() if k.startswith(prefix)}


def _earlier_normaliser(run: Path) -> dict[str, Tensor]:
    scales = read_json(run / ABOUT)["normaliser"]
    return {k: torch.tensor(x) for k, x in scales.items()}


def _damaged(path: Path) -> OpError:
    message = "the weights of the run cannot be read"
    helps = ("restore the file from a backup, or train again with another `--out`",)
    return fault("OP0621", message, helps=helps, file=str(path))
