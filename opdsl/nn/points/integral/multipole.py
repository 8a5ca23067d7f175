"""Kernel integrals on levels of coarser and coarser points: near finely, far coarsely.

Coarse levels are made by `lattice.coarsen`; between any two levels there is a `Gno`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from opdsl.nn.layers.embedding import Sinusoids
from opdsl.nn.layers.pointwise import ACTIVATIONS, Linear
from opdsl.nn.points.geometry import Geometries, point_counts
from opdsl.nn.points.integral.gno import Gno, Reduction, Side
from opdsl.nn.points.lattice import coarsen
from opdsl.nn.points.neighbours.search import NeighbourRule
from opdsl.nn.shapes import RaggedSizes, Size


@dataclass(frozen=True, slots=True)
class MultipoleLevel:
    """Radius and lattice of a level.

    Attributes:
        radius: of neighbours on this level, and of those on the finer one.
        spacing: cell width of the lattice; 0: the points themselves.
    """

    radius: float
    spacing: float


@dataclass(frozen=True, slots=True)
class _LevelPoints:
    """Points of a level, and the number of points of each sample where they are packed."""

    placed: Geometries
    packed: Size | None

    @property
    def size(self) -> Size:
        return (len(self.placed[0]),)


class Multipole(nn.Module):
    """A V-cycle: K_11 v_1 + K_12 v'_2, v'_l = s(W_l v_l + K_ll v_l + K_l,l+1 v'_l+1).

    On the way down v_l+1 = s(K_l+1,l v_l). Level 1 is that of the points; all K are kernel
    integrals with a network each.

    Args:
        side: the domain.
        levels: the finest first.
        channels: of v and of the result.
        widths: of the layers of each kernel.
        act: of the kernels.
        between: s, the activation on coarse levels.
        full: whether kernels are matrices.
        embedding: of coordinates, for the kernels.
        reduction: over neighbours.
        wrap: whether distances go around the period of the domain.

    Attributes:
        within: K_ll.
        down: K_l+1,l.
        up: K_l,l+1.
        mix: W_l of the coarse levels.

    Source: Li et al. 2020, arXiv:2006.09535, section 3 (the V-cycle).
    """

    def __init__(  # noqa: PLR0913  the block's parameters, and a domain
        self,
        side: Side,
        levels: tuple[MultipoleLevel, ...],
        channels: int,
        widths: Size,
        *,
        act: str,
        between: str = "gelu",
        full: bool = False,
        embedding: Sinusoids | None = None,
        reduction: Reduction = "integral",
        wrap: bool = False,
    ) -> None:
        super().__init__()
        self.side, self.levels = side, levels
        self.reduction, self.between = reduction, between

        def kernel(radius: float) -> Gno:
            period = side.period if wrap else None
            # but for rounding, each point lies within the radius of its cell: hence `nearest`
            rule = NeighbourRule(radius, period=period, nearest=True)
            options = {"embedding": embedding, "reduction": reduction}
            return Gno(side, side, widths, rule, act=act, full=full, **options)  # type: ignore[arg-type]  # mypy joins the types of the two

        self.within = nn.ModuleList(kernel(x.radius) for x in levels)
        self.down = nn.ModuleList(kernel(x.radius) for x in levels[1:])
        self.up = nn.ModuleList(kernel(x.radius) for x in levels[1:])
        self.mix = nn.ModuleList(Linear(channels, channels, bias=False) for _ in levels[1:])

    def forward(self, x: Tensor, asked: tuple[Geometries, ...], ragged: RaggedSizes = ()) -> Tensor:
        """(batch, points, c) -> (batch, points, c); packed points are (1, points, c).

        Args:
            x: v.
            asked: coordinates of the points.
            ragged: the points of each sample, where they are packed.

        Raises:
            OpError: as `Gno`.
        """
        act = ACTIVATIONS[self.between]
        points = self._points(tuple(g.to(x.device) for g in asked[0]), len(x), ragged)
        inputs = [x]
        for i, net in enumerate(self.down):
            inputs.append(act(_kernel_integral(net, inputs[-1], points[i], points[i + 1])))
        result = None
        for i in reversed(range(len(points))):
            total = _kernel_integral(self.within[i], inputs[i], points[i], points[i])
            if result is not None:
                total = total + _kernel_integral(self.up[i], result, points[i + 1], points[i])
            result = act(total + self.mix[i - 1](inputs[i])) if i else total
        assert result is not None
        return result

    def _points(self, placed: Geometries, batch: int, ragged: RaggedSizes) -> list[_LevelPoints]:
        """Return the points of each level; samples with own points are packed on coarse levels."""
        packed = ragged[0] if ragged else None
        samples = len(packed) if packed else max(batch, len(placed))
        shared = len(placed) == 1 and not packed
        placed = placed if shared or len(placed) == samples else placed * samples
        measure = self.side.measure if self.reduction == "integral" else None
        spacings = tuple(x.spacing for x in self.levels[1:])
        coarse = [coarsen(g, spacings, measure, self.side.period) for g in placed]
        levels = list(zip(*coarse, strict=True))
        return [
            _LevelPoints(placed, packed),
            *(_LevelPoints(level, None if shared else point_counts(level)) for level in levels),
        ]

    def extra_repr(self) -> str:
        """Describe the radii of the levels."""
        return ", ".join(f"{x.radius:g}" for x in self.levels)


def _kernel_integral(net: nn.Module, x: Tensor, here: _LevelPoints, there: _LevelPoints) -> Tensor:
    """Apply the kernel integral from one level to another."""
    ragged = (here.packed, there.packed)
    result: Tensor = net(x, there.size, (here.placed, there.placed), ragged)
    return result
