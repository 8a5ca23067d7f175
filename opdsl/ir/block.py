"""The interface of a block: parameters, signature, promises, cost, kernels, lowering.

A block is one class in one file of `opdsl/blocks/`; the file's name is its keyword in `.op` text
and its pydantic fields are the parameters. The elaborator makes the instance (every field checked
by pydantic, unknown fields refused), asks `infer` for the space of its result, and keeps both in a
node of the graph. Batch never appears: costs are for one sample.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict

from opdsl.ir.dims import Poly
from opdsl.ir.spaces import Domain, Space

if TYPE_CHECKING:
    from torch import nn

BYTES = 4  # of one number in float32


@dataclass(frozen=True, slots=True)
class Bound:
    """`domain` needs `points` points on `axis`.

    Attributes:
        keeps: what is kept there: `|k| <= 8`.
        note: the rule: `sampling theorem: 2 * 8 + 1 = 17 samples`.
        cure: from the points that there are, the argument that would fit: `modes = 7`.
        what: what there is too much of.
    """

    domain: Domain
    axis: int
    points: int
    keeps: str
    note: str
    cure: Callable[[int], str]
    what: str = "modes"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a block costs for one sample.

    Attributes:
        params: real numbers that are trained.
        flops: additions and multiplications of one forward pass.
        bytes: size of the result in float32.
    """

    params: int
    flops: Poly
    bytes: Poly


@dataclass(frozen=True, slots=True)
class Ask:
    """What a block needs beside its inputs, given with each call of the module by name.

    Attributes:
        name: of the points domain whose coordinates, or of the field whose values are asked for.
        what: coordinates are (points, d), or (batch, points, d); a field is (*grid).
        domain: where the points or values are.
    """

    name: str
    what: Literal["coordinates", "field"]
    domain: Domain


@dataclass(frozen=True, slots=True)
class Work:
    """What one kernel does for one sample: flops of matrix products, bytes moved elsewhere.

    Attributes:
        gemm: floating point operations inside matrix products.
        fft: floating point operations inside fast Fourier transforms.
        moved: bytes read and written outside of matrix products.
    """

    gemm: float = 0.0
    fft: float = 0.0
    moved: float = 0.0


@dataclass(eq=False)
class Refusal(Exception):  # noqa: N818  it is raised by a block, and becomes a diagnostic
    """The inputs or parameters do not fit; the elaborator knows the place and adds it.

    Attributes:
        at: what is to blame: an input (its index), a parameter (its name), or None, the call.
        label: what to say there.
        inputs: what to say at each input, by index.
    """

    code: str
    message: str
    label: str = ""
    at: int | str | None = None
    inputs: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    helps: tuple[str, ...] = ()


class Block(BaseModel):
    """One operator of the language. Subclasses are leaves; they set what differs.

    Attributes:
        arity: least and greatest number of input functions (None: no limit).
        kinds: kinds of domain on which it is defined; empty: any.
        complex: whether it is defined on complex functions too.
        rings: whether it takes every axis for a closed one.
        positional: parameters that may be given without their name, after the inputs.
        sized: `lower`'s module takes the keyword `size`, the grid of its result.
        kernels: names of the ways to compute it, the first is the default; a module of a block
            with kernels takes the keyword `kernel`.
        ragged: what it does where the samples of a domain are packed, one behind the other because
            each has its own number of points: `pointwise` blocks take packed tensors as they are,
            a module of one that says `own` is then given the keyword `ragged`, the points of each
            sample for each input and last for the result (None where not packed), and `each` runs
            for each sample on its own.
        tokens: inputs whose points it tells apart by their values only, and what it can no longer
            do where these are all the same.
        samples: parameters and input channels for the manual and the conformance test: each a
            dict of the fields, with the reserved key `inputs`, for each input its channels on the
            grid D, or its space: "R^4", "P -> R^3", "D -> C^2" (see tests/conformance).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    arity: ClassVar[tuple[int, int | None]] = (1, 1)
    kinds: ClassVar[frozenset[str]] = frozenset()
    complex: ClassVar[bool] = False
    rings: ClassVar[bool] = False
    positional: ClassVar[tuple[str, ...]] = ()
    sized: ClassVar[bool] = False
    kernels: ClassVar[tuple[str, ...]] = ()
    ragged: ClassVar[Literal["each", "pointwise", "own"]] = "each"
    tokens: ClassVar[Mapping[int, str]] = {}
    samples: ClassVar[tuple[Mapping[str, Any], ...]] = ()

    @classmethod
    def keyword(cls) -> str:
        """`SpectralConv` is `spectral_conv` in a program."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    def infer(self, *x: Space) -> Space:
        """The space of the result.

        Raises:
            Refusal: these inputs do not fit.
        """
        raise NotImplementedError

    def bounds(self, *x: Space) -> tuple[Bound, ...]:  # noqa: ARG002  most blocks need nothing
        """What the block asks of the resolution."""
        return ()

    def pins(self, *x: Space) -> str | None:  # noqa: ARG002  most blocks pin nothing
        """Why the block works at one resolution only (`has a value for each point`), or None."""
        return None

    def diverges(self, *x: Space) -> str | None:  # noqa: ARG002  most blocks converge
        """Why the block has no limit under refinement (`its stencil shrinks ...`), or None."""
        return None

    def integrates(self, *x: Space) -> tuple[Domain, ...]:  # noqa: ARG002  most blocks do not
        """The domains over which it takes an integral with the weights of the points."""
        return ()

    def excites(self, *x: Space) -> tuple[int, ...] | None:  # noqa: ARG002  most have no modes
        """The greatest frequency for which it has weights, on each axis, or None."""
        return None

    def carries(self, *x: Space) -> bool:  # noqa: ARG002  most blocks are not linear
        """Whether its result has no frequencies that its inputs do not have."""
        return False

    def wasteful(self, *x: Space) -> str | None:  # noqa: ARG002  most blocks have no factors
        """Why its factors are no gain over what they stand for, or None."""
        return None

    def asks(self, *x: Space) -> tuple[Ask, ...]:  # noqa: ARG002  most blocks need nothing more
        """What it needs beside its inputs; its module takes it as the keyword `asked`."""
        return ()

    def vanishes(self, *x: Space) -> bool:  # noqa: ARG002  most blocks do something
        """Whether the result is the one input itself, so that no node is made."""
        return False

    def reach(self, sizes: tuple[tuple[int, ...], ...], *x: Space) -> tuple[int, ...] | None:  # noqa: ARG002  the same at every resolution
        """How many points away on each axis its result looks; None: maybe at all of them.

        Args:
            sizes: the grid of each input, and last the grid of the result.
            x: the spaces of the inputs.
        """
        return (0,) * len(sizes[-1]) if self.ragged == "pointwise" else None

    def cost(self, *x: Space) -> Cost:
        """Parameters, flops and bytes for one sample."""
        raise NotImplementedError

    def complex_weights(self, *x: Space) -> int:  # noqa: ARG002  most weights are real
        """How many complex numbers are among its weights; `params` counts each as two."""
        return 0

    def uniform(self, given: tuple[bool, ...], *x: Space) -> bool:  # noqa: ARG002  for most blocks
        """Whether its result has the same value at all points.

        Args:
            given: for each input whether it has the same value at all points.
            x: the spaces of the inputs.
        """
        return self.ragged == "pointwise" and bool(given) and all(given)

    def work(self, kernel: str, sizes: tuple[tuple[int, ...], ...], *x: Space) -> Work:
        """What `kernel` does at a resolution, for the planner.

        Args:
            kernel: one of `kernels`.
            sizes: the grid of each input, and last the grid of the result.
            x: the spaces of the inputs.
        """
        raise NotImplementedError

    def lower(self, *x: Space) -> nn.Module:
        """A torch module on channels-last tensors, (batch, *grid, channels).

        The only method that imports torch.
        """
        raise NotImplementedError


def words_of(cls: type[Block], key: str) -> tuple[str, ...]:
    """The words of a `Literal` parameter."""
    options = get_args(cls.model_fields[key].annotation)
    nested = [y for x in options for y in (get_args(x) or (x,))]
    return tuple(x for x in nested if isinstance(x, str))


def free(numbers: Poly) -> Cost:
    """A cost of no parameters and no arithmetic, for a result of so many numbers."""
    return Cost(0, Poly(), numbers * BYTES)
