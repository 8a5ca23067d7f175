"""The compared cases: models of neuraloperator with their inputs, and how each quantity is varied.

`CASES` is the table of the report, and `GROWTH` holds series around one small case. Nothing of
neuraloperator is imported here: a case names a class and its arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One model at one size.

    Attributes:
        name: for `--case`.
        title: for the table.
        kind: a class of neuraloperator, or `GNO`, its layer alone.
        named: arguments of the constructor.
        grid: points of each axis; of a model on points how many there are.
        floors: least ratios of a training step, of a forward pass, and of memory in training.
    """

    name: str
    title: str
    kind: str
    named: Mapping[str, Any]
    grid: tuple[int, ...]
    batch: int
    floors: tuple[float, float, float] = (0.0, 0.0, 0.0)
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Channels of the layers; of `GNO` those of its kernel's network."""
        named = self.named
        return int(named.get("hidden_channels") or named.get("channel_mlp_layers", (32,))[0])

    @property
    def scattered(self) -> bool:
        """Whether it is a model on points."""
        return self.kind in {"GNO", "GINO"}


def fno(
    name: str, grid: tuple[int, ...], modes: int, width: int, batch: int, *floors: float
) -> Case:
    """An FNO with the defaults of the library, `modes` as it counts them, on all axes."""
    n_modes = (modes,) * len(grid)
    named = {"n_modes": n_modes, "in_channels": 1, "out_channels": 1, "hidden_channels": width}
    size = "x".join(map(str, grid))
    title = f"FNO {len(grid)}-D {size}, {modes} modes, width {width}, batch {batch}"
    return Case(name, title, "FNO", named, grid, batch, floors or (0.0, 0.0, 0.0))


TFNO = {
    "n_modes": (32, 32),
    "in_channels": 1,
    "out_channels": 1,
    "hidden_channels": 64,
    "factorization": "Tucker",
    "rank": 0.1,
}
# the example of its documentation, wider
UNO = {
    "in_channels": 1,
    "out_channels": 1,
    "hidden_channels": 32,
    "n_layers": 5,
    "uno_out_channels": [32, 64, 64, 64, 32],
    "uno_n_modes": [[16, 16], [8, 8], [8, 8], [8, 8], [16, 16]],
    "uno_scalings": [[1.0, 1.0], [0.5, 0.5], [1.0, 1.0], [2.0, 2.0], [1.0, 1.0]],
    "channel_mlp_skip": "linear",
}
SFNO = {"n_modes": (32, 64), "in_channels": 3, "out_channels": 3, "hidden_channels": 32}
GNO = {
    "in_channels": 32,
    "out_channels": 32,
    "coord_dim": 3,
    "radius": 0.1,
    "channel_mlp_layers": [128, 256, 128],
    "transform_type": "linear",
}
GINO = {
    "in_channels": 1,
    "out_channels": 1,
    "gno_coord_dim": 3,
    "in_gno_radius": 0.1,
    "out_gno_radius": 0.1,
    "fno_n_modes": (8, 8, 8),
    "fno_hidden_channels": 32,
}

CASES = (
    fno("fno2d", (128, 128), 32, 64, 16, 2.8, 3.0, 3.5),
    fno("fno2d-small", (64, 64), 16, 32, 16, 2.5, 2.8, 3.0),
    fno("fno1d", (1024,), 16, 64, 20, 2.0, 2.3, 2.5),
    fno("fno3d", (64, 64, 64), 8, 32, 2, 2.8, 3.0, 3.0),
    Case(
        "tfno",
        "TFNO Tucker 0.1, 2-D 128x128, 32 modes, width 64, batch 8",
        "TFNO",
        TFNO,
        (128, 128),
        8,
        (2.8, 3.0, 3.0),
    ),
    Case(
        "uno",
        "UNO 2-D 64x64, 16 modes, width 32, batch 8",
        "UNO",
        UNO,
        (64, 64),
        8,
        (3.0, 3.0, 2.5),
    ),
    Case("sfno", "SFNO 64x128, width 32, batch 8", "SFNO", SFNO, (64, 128), 8, (2.5, 2.5, 2.5)),
    Case("gno", "GNO 4000 points, radius 0.1", "GNO", GNO, (4000,), 1, (1.6, 2.0, 2.0)),
    Case(
        "gino",
        "GINO 2000 points, 16^3 latent, width 32",
        "GINO",
        GINO,
        (2000,),
        1,
        (12.0, 4.0, 2.0),
        {"latent": 16},
    ),
)

TINY = fno("tiny", (16, 16), 4, 4, 2)  # for the test of the command
SMALL = fno("small", (64, 64), 16, 32, 8)  # in the middle of each series


def growth() -> dict[str, list[tuple[int, Case]]]:
    """Each quantity with its values and the case at each."""
    named = dict(SMALL.named)
    points = CASES[7]
    return {
        "resolution": [(n, replace(SMALL, grid=(n, n))) for n in (32, 64, 128, 256)],
        "modes": [
            (m, replace(SMALL, named=named | {"n_modes": (m, m)})) for m in (4, 8, 16, 32, 60)
        ],
        "width": [
            (w, replace(SMALL, named=named | {"hidden_channels": w})) for w in (16, 32, 64, 128)
        ],
        "batch": [(b, replace(SMALL, batch=b)) for b in (1, 4, 16, 64)],
        "points": [(n, replace(points, grid=(n,))) for n in (1000, 2000, 4000)],
    }
