"""The interface of a block: parameters, signature, and every fact that the compiler asks for.

A block is one class in one file of `opdsl/blocks/`. The name of the file is its keyword in `.op`
text, its pydantic fields are its parameters. The elaborator makes the instance (pydantic checks
every field and refuses unknown ones), calls `infer` for the space of the result, and stores both in
a node of the graph. Batch never appears: costs are for one sample.
"""

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict

from opdsl.ir import ends
from opdsl.ir.dims import Poly
from opdsl.ir.ends import Behaviour
from opdsl.ir.orders import EXACT, Order
from opdsl.ir.sharding.rules import Rule
from opdsl.ir.spaces import Domain, Space

if TYPE_CHECKING:
    from torch import nn

BYTES = 4  # of one number in float32

GridSizes = tuple[tuple[int, ...], ...]
Ragged = Literal["each", "pointwise", "own"]
BoxKind = Literal["source", "integral", "resolution", "pointwise", "join"]


@dataclass(frozen=True, slots=True)
class Bound:
    """A least number of points: `domain` needs `points` points on `axis`.

    Attributes:
        domain: the domain that is bounded.
        axis: the index of its axis.
        points: the least number of points there.
        keeps: what these points resolve: `|k| <= 8`.
        note: the rule: `sampling theorem: 2 * 8 + 1 = 17 samples`.
        cure: maps the points that there are to the argument that would fit: `modes = 7`.
        what: the quantity of which there is too much.
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
    """The cost of a block for one sample.

    Attributes:
        params: trained real numbers.
        flops: additions and multiplications of one forward pass.
        bytes: size of the result in float32.
    """

    params: int
    flops: Poly
    bytes: Poly


@dataclass(frozen=True, slots=True)
class SideInput:
    """A tensor that a block needs besides its inputs; each call of the module gives it by name.

    Attributes:
        name: the name of the domain of points, or of the field, that is needed.
        what: `coordinates`, of shape (points, d) or (batch, points, d), or a `field`, (*grid).
        domain: the domain of the points or of the field.
    """

    name: str
    what: Literal["coordinates", "field"]
    domain: Domain


@dataclass(frozen=True, slots=True)
class Work:
    """The work of one kernel for one sample, as the planner counts it.

    Attributes:
        gemm: floating point operations inside matrix products.
        fft: floating point operations inside fast Fourier transforms.
        moved: bytes read and written outside of matrix products.
    """

    gemm: float = 0.0
    fft: float = 0.0
    moved: float = 0.0


@dataclass(eq=False)
class Refusal(Exception):  # noqa: N818  a block raises it, the elaborator makes it a diagnostic
    """The inputs or parameters do not fit; the elaborator adds the place in the text.

    Attributes:
        code: the code of the diagnostic.
        message: the message of the diagnostic.
        label: the text at the place that is at fault.
        at: that place: an input (its index), a parameter (its name), or None, the whole call.
        inputs: texts at several inputs, by index.
        notes: further facts.
        helps: what to write instead.
    """

    code: str
    message: str
    label: str = ""
    at: int | str | None = None
    inputs: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    helps: tuple[str, ...] = ()


class Block(BaseModel):
    """One operator of the language. Subclasses are leaves and override what differs.

    The parameters of `infer` are the inputs of the block: `infer(self, x: Space)` has one input,
    `infer(self, u: Space, v: Space)` two, `infer(self, u: Space, *more: Space)` one or more. All
    other methods take the spaces of the inputs in the same order. In this class they accept any
    number of arguments, so that a subclass states its own and a caller passes `*spaces`.

    Attributes:
        arity: least and greatest number of inputs (None: no limit), read off `infer`. A class whose
            `infer` takes `*x` alone declares it.
        kinds: kinds of domain on which the block is defined; empty: any.
        complex: whether it is defined on complex functions too.
        assumes_periodic: whether it treats every axis as periodic.
        commutative: whether the order of its inputs does not matter.
        positional: parameters that a call may give without their name, after the inputs.
        shorthand: the parameter whose value may stand for the keyword: `gelu()` for `apply(gelu)`.
        drawn_as: kind of its box in a drawing; None: the kind that its signature suggests.
        sized: whether its module takes the keyword `size`, the grid of the result.
        kernels: names of the ways to compute it, the first is the default; the module of a block
            with kernels takes the keyword `kernel`.
        ragged: how it treats a domain whose samples differ in their number of points, which are
            packed one after the other. `pointwise` blocks take packed tensors as they are. The
            module of an `own` block takes the keyword `ragged`, the points of each sample for each
            input and last for the result (None where not packed). A block of the kind `each` runs
            once for each sample.
        tokens: inputs whose points it distinguishes by their values alone, by index, and what it
            cannot do where all these values are equal.
        limits_modes: whether layers of its module satisfy `opdsl.nn.capabilities.LimitsModes`, so
            that training can begin with few modes.
        narrows_spectrum: whether layers of its module satisfy
            `opdsl.nn.capabilities.NarrowsSpectrum`, so that they can run in half precision.
        traceable_tables: whether an ONNX file can compute its tables at every resolution.
        samples: parameters and input channels for the manual and the conformance test: each a
            dict of the fields, with the reserved key `inputs`, for each input its channels on the
            grid D, or its space: "R^4", "P -> R^3", "D -> C^2" (see tests/conformance).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    arity: ClassVar[tuple[int, int | None]] = (1, 1)
    kinds: ClassVar[frozenset[str]] = frozenset()
    complex: ClassVar[bool] = False
    assumes_periodic: ClassVar[bool] = False
    commutative: ClassVar[bool] = False
    positional: ClassVar[tuple[str, ...]] = ()
    shorthand: ClassVar[str | None] = None
    drawn_as: ClassVar[BoxKind | None] = None
    sized: ClassVar[bool] = False
    kernels: ClassVar[tuple[str, ...]] = ()
    ragged: ClassVar[Ragged] = "each"
    tokens: ClassVar[Mapping[int, str]] = {}
    limits_modes: ClassVar[bool] = False
    narrows_spectrum: ClassVar[bool] = False
    traceable_tables: ClassVar[bool] = True
    samples: ClassVar[tuple[Mapping[str, Any], ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = vars(cls)
        if "infer" in own and "arity" not in own:
            cls.arity = _count_inputs(cls.infer) or cls.arity

    @classmethod
    def keyword(cls) -> str:
        """The name in a program: `SpectralConv` is `spectral_conv`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    # --- signature and promises -------------------------------------------------------------

    def infer(self, *x: Any, **_: Any) -> Space:
        """Return the space of the result.

        Raises:
            Refusal: these inputs do not fit.
        """
        raise NotImplementedError

    def bounds(self, *_x: Any, **_: Any) -> tuple[Bound, ...]:
        """Return the numbers of points that the block needs."""
        return ()

    def is_identity(self, *_x: Any, **_: Any) -> bool:
        """Return whether the result is the one input itself; the identity adds no node."""
        return False

    def side_inputs(self, *_x: Any, **_: Any) -> tuple[SideInput, ...]:
        """Return what the module needs besides the inputs; it takes them as keyword `asked`."""
        return ()

    def circles(self, *x: Any, **_: Any) -> tuple[bool, ...]:
        """Return for each axis of the first input whether it is treated as periodic."""
        return (self.assumes_periodic,) * (x[0].domain.dims if x else 0)

    def integrates(self, *_x: Any, **_: Any) -> tuple[Domain, ...]:
        """Return the domains over which it integrates with the weights of the points."""
        return ()

    # --- behaviour under refinement, and frequencies ----------------------------------------

    def fixed_resolution(self, *_x: Any, **_: Any) -> str | None:
        """Return why it works at one resolution only (`has a value for each point`), or None."""
        return None

    def diverges(self, *_x: Any, **_: Any) -> str | None:
        """Return why it has no limit under refinement (`its stencil shrinks ...`), or None."""
        return None

    def max_modes(self, *_x: Any, **_: Any) -> tuple[int, ...] | None:
        """Return the greatest frequency that has weights, on each axis, or None."""
        return None

    def band_preserving(self) -> bool:
        """Return whether the result has no frequencies that the inputs do not have."""
        return False

    def receptive_field(self, sizes: GridSizes, *_x: Any, **_: Any) -> tuple[int, ...] | None:
        """Return how many points away the result looks, on each axis; None: maybe at all points.

        Args:
            sizes: the grid of each input, and last the grid of the result.
            _x: the spaces of the inputs.
        """
        return (0,) * len(sizes[-1]) if self.ragged == "pointwise" else None

    def sharding(self, _axis: int, _sizes: GridSizes, *_x: Any, **_: Any) -> Rule | None:
        """Return how it is computed where each process has a part of an axis of its grid.

        None: as the receptive field says, and not at all if that is the whole grid.

        Args:
            _axis: the index of the axis.
            _sizes: the grid of each input, and last the grid of the result.
            _x: the spaces of the inputs.
        """
        return None

    def uniform(self, inputs: tuple[bool, ...], *_x: Any, **_: Any) -> bool:
        """Return whether the result has the same value at all points.

        Args:
            inputs: for each input whether it has the same value at all points.
            _x: the spaces of the inputs.
        """
        return self.ragged == "pointwise" and bool(inputs) and all(inputs)

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], *x: Any, **_: Any) -> Behaviour:
        """Return what is known about the result at the ends of its axes.

        By default that of a smooth function of the values at one point, if the block is `pointwise`
        and has inputs; else nothing.

        Args:
            inputs: what is known about each input.
            x: the spaces of the inputs.
        """
        if self.ragged == "pointwise" and inputs:
            return ends.smooth_values(inputs)
        return ends.unknown(self.infer(*x).domain)

    def convergence_order(self, inputs: tuple[Behaviour, ...], *_x: Any, **_: Any) -> Order | None:
        """Return the order in which the result converges as the spacings tend to zero, or None.

        None means that no order is known, as by default for blocks that look at other points.

        Args:
            inputs: what is known about each input.
            _x: the spaces of the inputs.
        """
        return EXACT if self.ragged == "pointwise" and inputs else None

    def better_basis(
        self, _inputs: tuple[Behaviour, ...], *_x: Any, **_: Any
    ) -> tuple[str, Order] | None:
        """Return a basis in which its order would be higher, as a program writes it, and the order.

        Args:
            _inputs: what is known about each input.
            _x: the spaces of the inputs.
        """
        return None

    # --- cost -------------------------------------------------------------------------------

    def cost(self, *x: Any, **_: Any) -> Cost:
        """Return parameters, flops and bytes for one sample."""
        raise NotImplementedError

    def complex_weights(self, *_x: Any, **_: Any) -> int:
        """Return how many complex numbers its weights contain; `params` counts each as two."""
        return 0

    def wasteful(self, *_x: Any, **_: Any) -> str | None:
        """Return why its factors save nothing over a dense weight, or None."""
        return None

    def work(self, kernel: str, sizes: GridSizes, *x: Any, **_: Any) -> Work:
        """Return what `kernel` does at a resolution, for the planner.

        Args:
            kernel: one of `kernels`.
            sizes: the grid of each input, and last the grid of the result.
            x: the spaces of the inputs.
        """
        raise NotImplementedError

    def saves_inputs(self, *x: Any, **_: Any) -> bool:
        """Return whether the gradient needs the inputs, so that they stay in memory.

        By default those of layers with weights; one with kernels saves modes instead.
        """
        return not self.kernels and self.cost(*x).params > 0

    def saves_result(self, *_x: Any, **_: Any) -> bool:
        """Return whether the gradient needs the result."""
        return False

    def saved_per_point(self, *_x: Any, **_: Any) -> int:
        """Return how many real numbers at each point of the result the gradient needs.

        These are intermediate results, beside the inputs (`saves_inputs`) and `saved_modes`.
        """
        return 0

    def saved_modes(self, _sizes: GridSizes, *x: Any, **_: Any) -> int:
        """Return how many modes of each channel the gradient needs.

        Args:
            _sizes: the grid of each input, and last the grid of the result.
            x: the spaces of the inputs.
        """
        modes = self.max_modes(*x) if self.kernels else None
        if modes is None:
            return 0
        return math.prod(2 * m + 1 for m in modes[:-1]) * (modes[-1] + 1)

    # --- drawing and lowering ---------------------------------------------------------------

    def label(self) -> str:
        """Return the title of its box in a drawing."""
        return self.keyword()

    def lower(self, *x: Any, **_: Any) -> "nn.Module":
        """Return a torch module on channels-last tensors, (batch, *grid, channels).

        The only method that imports torch.
        """
        raise NotImplementedError


def _count_inputs(infer: Callable[..., Space]) -> tuple[int, int | None] | None:
    """Return least and greatest number of inputs; None: `infer(self, *x)` does not tell."""
    function = inspect.unwrap(infer)
    code = function.__code__
    most = code.co_argcount - 1  # without `self`
    least = most - len(function.__defaults__ or ())
    if code.co_flags & inspect.CO_VARARGS:
        return (least, None) if most else None
    return least, most


def literal_words(cls: type[Block], key: str) -> tuple[str, ...]:
    """Return the words of a `Literal` parameter."""
    options = get_args(cls.model_fields[key].annotation)
    nested = [y for x in options for y in (get_args(x) or (x,))]
    return tuple(x for x in nested if isinstance(x, str))


def copy_cost(numbers: Poly) -> Cost:
    """Return the cost of a result of so many numbers without parameters and arithmetic."""
    return Cost(0, Poly(), numbers * BYTES)
