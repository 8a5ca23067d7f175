"""The weights of a run, for evaluation, prediction and export."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import nn

from opdsl.diagnostics import fault
from opdsl.train.checkpoint import State, Store, malformed, refuse_malformed
from opdsl.train.folder import refuse_links
from opdsl.train.normalise import Normaliser

Which = Literal["best", "last"]


@dataclass(frozen=True, slots=True)
class Trained:
    """What came with the weights.

    Attributes:
        normaliser: for `evaluate` and `predict`.
        epoch: finished epochs.
        step: finished steps.
        meta: the strings that `fit` was given.
    """

    normaliser: Normaliser
    epoch: int
    step: int
    meta: Mapping[str, str]


def load_trained(run: Path, module: nn.Module, which: Which = "best") -> Trained:
    """Put the weights of a run into `module`.

    Args:
        run: the run's folder.
        module: of the same program.
        which: the best by the first test set (the last, if there was none), or the last.

    Raises:
        OpError: OP0627 no run, OP0621 all damaged, OP0626 the weights do not fit the module.
    """
    state = trained_state(run, which)
    refuse_malformed(state, run)
    try:
        module.load_state_dict(state["module"])
    except RuntimeError as error:
        message = "the weights of the run do not fit the program"
        detail = (" ".join(str(error).split()),)
        raise fault("OP0626", message, notes=detail, file=str(run)) from error
    with malformed(run):
        normaliser = Normaliser.from_state(state["normaliser"])
    return Trained(normaliser, state["epoch"], state["step"], state["meta"])


def trained_state(run: Path, which: Which = "best") -> State:
    """The newest whole checkpoint: `module`, `normaliser`, `epoch`, `step`, `meta`.

    Raises:
        OpError: OP0627, OP0621; OP0628, the folder contains a link.
    """
    refuse_links(run)
    store = Store(run)
    best = store.load("best") if which == "best" else None
    state = best if best is not None else store.load("step")
    if state is None:
        helps = ("`opdsl train PROGRAM --out FOLDER` makes one",)
        raise fault("OP0627", "there are no weights of a run", file=str(run), helps=helps)
    return state
