"""The weights of a trained model as the first ones of another, name by name.

A model grows by what it does not share: where the weights of a layer do not know how many variables
there are, a program with one variable more has these and a few new ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from opdsl.diagnostics import OpError, fault
from opdsl.train.run.checkpoint import refuse_malformed
from opdsl.train.run.trained import trained_state

SHOWN = 5  # names that a message lists
_FILE_NAMES = {"shared": "taken"}  # names in the files of runs, where they differ from ours


@dataclass(frozen=True, slots=True)
class WarmStart:
    """The weights that a model begins with; each is a tuple of names, sorted.

    Attributes:
        run: the folder of the trained model.
        shared: weights that are in both.
        new: weights that the trained model does not have, which begin at random.
        dropped: weights that it has and the new one does not.
    """

    run: str
    shared: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        """Format the start: `12 weights from runs/a; new: mark_T.weight`."""
        parts = [f"{len(self.shared)} weights from {self.run}"]
        parts += [f"new: {name_list(self.new)}"] if self.new else []
        parts += [f"not taken over: {name_list(self.dropped)}"] if self.dropped else []
        return "; ".join(parts)

    def data(self) -> dict[str, Any]:
        """Convert to a dictionary of JSON values, with the names that the files of runs use."""
        return {_FILE_NAMES.get(k, k): x for k, x in asdict(self).items()}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> WarmStart:
        """Read what `data` has written."""
        names = {x: k for k, x in _FILE_NAMES.items()}
        return cls(**{names.get(k, k): x for k, x in data.items()})


def warm_start(run: Path, module: nn.Module) -> WarmStart:
    """Put the best weights of a run into `module` wherever both have one of that name.

    Args:
        run: the folder of a run, of another program or of the same.
        module: of the new program, with fresh weights.

    Raises:
        OpError: OP0627 no run, OP0621 all damaged, OP0626 no name is in both, or a shape differs.
    """
    state = trained_state(run)
    refuse_malformed(state, run)
    trained = {common_name(k): v for k, v in state["module"].items()}
    fresh = {common_name(k): v for k, v in module.state_dict().items()}
    shared = sorted(fresh.keys() & trained.keys())
    if not shared:
        raise _nothing_fits(run, trained, fresh)
    _refuse_other_shapes(run, {x: (trained[x], fresh[x]) for x in shared})
    with torch.no_grad():
        for name in shared:
            fresh[name].copy_(trained[name])
    new, dropped = fresh.keys() - trained.keys(), trained.keys() - fresh.keys()
    return WarmStart(str(run), tuple(shared), tuple(sorted(new)), tuple(sorted(dropped)))


def common_name(name: str) -> str:
    """Return the name of a weight without the part `each` that a layer with `copies` inserts.

    The weights of a model of one variable thus match those of a model of several.
    """
    return name.replace(".each.", ".")


def name_list(names: tuple[str, ...]) -> str:
    """List the first few names, and say how many more there are."""
    remainder = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return ", ".join([*names[:SHOWN], *remainder])


def _refuse_other_shapes(run: Path, pairs: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    mismatches = [
        f"`{name}` is {tuple(a.shape)} in the run and {tuple(b.shape)} in the program"
        for name, (a, b) in pairs.items()
        if a.shape != b.shape
    ]
    if mismatches:
        count = f"{len(mismatches)} weight" + ("s have" if len(mismatches) > 1 else " has")
        raise fault(
            "OP0626",
            f"{count} another shape than in the trained model",
            notes=tuple(mismatches[:SHOWN]),
            helps=(
                "give the program the sizes of the run, which its `resolved.op` has",
                "or give a layer another name, by which it begins anew",
            ),
            file=str(run),
        )


def _nothing_fits(run: Path, there: Mapping[str, Tensor], here: Mapping[str, Tensor]) -> OpError:
    return fault(
        "OP0626",
        "the program has no weight of a name that the trained model has",
        notes=(
            f"the run has {name_list(tuple(sorted(there)))}",
            f"the program has {name_list(tuple(sorted(here)))}",
        ),
        helps=("name the parts of both programs alike: weights are found by the names",),
        file=str(run),
    )
