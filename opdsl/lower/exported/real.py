"""A program without complex numbers: each complex tensor becomes its two parts.

The resulting module is traced for formats that have real tensors only. Fast transforms become
products with matrices, which the program makes from the size that it meets; what depends on no
input is computed here.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from opdsl.lower.exported.silence import quiet

aten = torch.ops.aten
RealRule = Callable[..., Any]

SPLIT = "parts_of_"


@dataclass(frozen=True, slots=True)
class Pair:
    """The complex tensor, or number, re + i im."""

    re: Any
    im: Any


class RealParts(nn.Module):
    """The function of a program, operation by operation, with pairs for complex tensors.

    Complex inputs and outputs are (..., 2).
    """

    def __init__(self, program: ExportedProgram, inputs: Sequence[Tensor]) -> None:
        """Rewrite a program in real operations.

        Args:
            inputs: any that the program takes, to see which are complex.
        """
        super().__init__()
        self.pairs = tuple(x.is_complex() for x in inputs)
        with quiet():
            self.held = split_complex_constants(
                fold_constants(program.run_decompositions().module(check_guards=False))
            )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Compute the outputs in order; complex tensors come and go as (..., 2)."""
        flagged = zip(inputs, self.pairs, strict=True)
        result = ByParts(self.held).run(*(_as_complex(x) if pair else x for x, pair in flagged))
        return tuple(map(as_real, pytree.tree_leaves(result)))


def as_real(x: Any) -> Tensor:
    """Return a real tensor as it is, a complex one or a pair as (..., 2)."""
    if isinstance(x, Pair):
        return torch.stack((x.re, x.im), -1)
    return torch.view_as_real(x) if x.is_complex() else x


class ByParts(fx.Interpreter):
    """Interpreter of a graph in which complex tensors are pairs."""

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one operation, by its rule if it has one, else on both parts.

        Raises:
            NotImplementedError: it is one on complex numbers of which no real form is known.
        """
        args, kwargs = pytree.tree_map(_number, (args, kwargs))
        if target in RULES:
            return RULES[target](*args, **kwargs)
        others, kind = _real_format(kwargs)
        if not any(isinstance(x, Pair) for x in pytree.tree_leaves((args, others))):
            result = super().call_function(target, args, others)
            return Pair(result, torch.zeros_like(result)) if kind else result
        if target in PARTWISE:
            return Pair(*(target(*_part(args, name), **_part(others, name)) for name in PARTS))
        raise NotImplementedError(f"{target} of complex numbers has no real form here")

    def get_attr(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return a stored tensor, one that was split by parts as a pair."""
        result = super().get_attr(target, args, kwargs)
        return _as_complex(result) if target.startswith(SPLIT) else result


# --- constants ---------------------------------------------------------------------------------


def fold_constants(module: fx.GraphModule) -> fx.GraphModule:
    """Compute and store what depends neither on an input nor on a weight; changes the module."""
    constants: dict[fx.Node, Any] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            tensor = _attribute(module, str(node.target))
            if not isinstance(tensor, nn.Parameter):
                constants[node] = tensor.clone()  # a copy, as a view of it may be written to
        elif node.op == "call_function" and all(x in constants for x in node.all_input_nodes):
            args, kwargs = fx.map_arg((node.args, node.kwargs), constants.__getitem__)
            constants[node] = node.target(*args, **kwargs)
        elif _writes_to(node, constants):
            return module
    for node, value in constants.items():
        needed = any(x not in constants for x in node.users)
        if needed and node.op == "call_function" and isinstance(value, Tensor):
            _store(module, node, value)
    for node in reversed(constants):  # also those that write to a constant, which have no users
        if not node.users:
            module.graph.erase_node(node)
    module.recompile()
    return module


def _writes_to(node: fx.Node, known: Mapping[fx.Node, Any]) -> bool:
    """Return whether the node writes into a constant, which then depends on an input."""
    schema = getattr(node.target, "_schema", None)
    return bool(schema and schema.is_mutable) and any(x in known for x in node.all_input_nodes)


def split_complex_constants(module: fx.GraphModule) -> fx.GraphModule:
    """Store each complex tensor as (..., 2), under another name; changes the module."""
    names = set()
    for node in module.graph.nodes:
        if node.op == "get_attr" and torch.is_complex(_attribute(module, str(node.target))):
            tensor = _attribute(module, str(node.target)).detach().resolve_conj()
            names.add(str(node.target))
            node.target = f"{SPLIT}{node.name}"
            module.register_buffer(node.target, torch.view_as_real(tensor).contiguous())
    for name in names:
        path, _, last = name.rpartition(".")
        delattr(module.get_submodule(path), last)
    module.recompile()
    return module


def _attribute(module: nn.Module, name: str) -> Any:
    path, _, last = name.rpartition(".")
    return getattr(module.get_submodule(path), last)


def _store(module: fx.GraphModule, node: fx.Node, value: Tensor) -> None:
    """Replace a node by a stored tensor."""
    name = f"table_{node.name}"
    module.register_buffer(name, value.resolve_conj().resolve_neg())
    with module.graph.inserting_before(node):
        node.replace_all_uses_with(module.graph.get_attr(name))


# --- operations, part by part -----------------------------------------------------------------

PARTS = ("re", "im")


def _part(tree: Any, name: str) -> Any:
    return pytree.tree_map(lambda x: getattr(x, name) if isinstance(x, Pair) else x, tree)


def _number(x: Any) -> Any:
    return Pair(x.real, x.imag) if isinstance(x, complex) else x


def _real_format(kwargs: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Replace a complex `dtype` argument by that of its parts; return whether there was one."""
    dtype = kwargs.get("dtype")
    if dtype is None or not dtype.is_complex:
        return kwargs, False
    return {**kwargs, "dtype": dtype.to_real()}, True


def _as_complex(x: Tensor) -> Pair:
    return Pair(x.select(-1, 0), x.select(-1, 1))


def _either(x: Any, y: Any) -> bool:
    return isinstance(x, Pair) or isinstance(y, Pair)


def _imaginary(x: Any) -> Any:
    return x.im if isinstance(x, Pair) else 0.0


def _sum(op: RealRule) -> RealRule:
    """Make the rule of a sum of two terms; the imaginary part of a real term is zero."""

    def rule(x: Any, y: Any, **named: Any) -> Any:
        if not _either(x, y):
            return op(x, y, **named)
        re = op(_part(x, "re"), _part(y, "re"), **named)
        im = [_imaginary(a) for a in (x, y)]
        if not isinstance(im[0], Tensor):
            im[0] = torch.zeros_like(re)
        return Pair(re, op(*im, **named).expand_as(re))

    return rule


def _product(op: RealRule) -> RealRule:
    """Make the rule of a product: (a + i b) (c + i d) = (a c - b d) + i (a d + b c)."""

    def rule(x: Any, y: Any) -> Any:
        if not (isinstance(x, Pair) and isinstance(y, Pair)):
            parts = (op(_part(x, name), _part(y, name)) for name in PARTS)
            return Pair(*parts) if _either(x, y) else op(x, y)
        re = op(x.re, y.re) - op(x.im, y.im)
        return Pair(re, op(x.re, y.im) + op(x.im, y.re))

    return rule


def _conjugate(x: Any, **_: Any) -> Any:
    return Pair(x.re, -x.im) if isinstance(x, Pair) else x


def _quotient(x: Any, y: Any) -> Any:
    if not isinstance(y, Pair):
        return Pair(x.re / y, x.im / y) if isinstance(x, Pair) else aten.div.Tensor(x, y)
    scale = y.re * y.re + y.im * y.im
    over = Pair(y.re / scale, -y.im / scale)
    return _product(aten.mul.Tensor)(x, over)


def _view(x: Any, shape: Any) -> Any:
    """Reshape both parts, whose memory order may differ from that of the whole."""
    return (
        Pair(x.re.reshape(shape), x.im.reshape(shape)) if isinstance(x, Pair) else x.reshape(shape)
    )


def _modulus(x: Any) -> Any:
    return (x.re * x.re + x.im * x.im).sqrt() if isinstance(x, Pair) else x.abs()


def _floor_divided(a: Any, b: Any) -> Any:
    """Divide sizes exactly: file formats differ in rounding negative quotients."""
    return (a - a % b) // b


# --- transforms as matrix products ------------------------------------------------------------


def _turns(n: Any, count: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """Compute cosine and sine of 2 pi k j / n in float64, (count, n) each."""
    j = torch.arange(n, dtype=torch.float64, device=like.device)
    k = torch.arange(count, dtype=torch.float64, device=like.device)[:, None]
    angle = 2 * math.pi / n * (k * j % n)
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def _along(x: Tensor, axis: int, matrix: Tensor) -> Tensor:
    return (x.movedim(axis, -1) @ matrix.T).movedim(-1, axis)


def _share(n: Any, norm: int) -> Any:
    """Return the scale of one axis for torch's norm: 0 is 1, 1 is 1 / sqrt(n), 2 is 1 / n."""
    return (1.0, n**-0.5, 1 / n)[norm]


def _c2c_axis(z: Pair, axis: int, norm: int, *, forward: bool) -> Pair:
    n = z.re.shape[axis]
    c, s = _turns(n, n, z.re)
    c, s = (_share(n, norm) * x for x in (c, s if forward else -s))
    re = _along(z.re, axis, c) + _along(z.im, axis, s)
    return Pair(re, _along(z.im, axis, c) - _along(z.re, axis, s))


def _c2c(z: Pair, axes: Sequence[int], norm: int, forward: bool) -> Pair:
    for axis in axes:
        z = _c2c_axis(z, axis, norm, forward=forward)
    return z


def _r2c(x: Tensor, axes: Sequence[int], norm: int, onesided: bool) -> Pair:
    *outer_axes, last = axes
    n = x.shape[last]
    c, s = _turns(n, n // 2 + 1 if onesided else n, x)
    z = Pair(_along(x, last, _share(n, norm) * c), _along(x, last, -_share(n, norm) * s))
    return _c2c(z, outer_axes, norm, forward=True)


def _c2r(z: Pair, axes: Sequence[int], norm: int, n: Any) -> Tensor:
    """Invert a real transform; each frequency but 0 and Nyquist stands for its conjugate too."""
    *outer_axes, last = axes
    z = _c2c(z, outer_axes, norm, forward=False)
    count = n // 2 + 1
    c, s = _turns(n, count, z.re)
    k = torch.arange(count, device=c.device)[:, None]
    scale = _share(n, norm) * (2.0 - ((k == 0) | (2 * k == n)).to(c.dtype))
    return _along(z.re, last, (scale * c).T) - _along(z.im, last, (scale * s).T)


RULES: dict[Any, RealRule] = {
    operator.floordiv: _floor_divided,
    aten.view_as_complex.default: _as_complex,
    aten.complex.default: Pair,
    aten.view_as_real.default: as_real,
    aten._assert_tensor_metadata.default: lambda *_, **__: None,  # noqa: SLF001  torch's name
    aten.sym_size.int: lambda x, axis: (x.re if isinstance(x, Pair) else x).shape[axis],
    aten.view.default: _view,
    aten.add.Tensor: _sum(aten.add.Tensor),
    aten.sub.Tensor: _sum(aten.sub.Tensor),
    aten.mul.Tensor: _product(aten.mul.Tensor),
    aten.mul.Scalar: _product(aten.mul.Tensor),
    aten.mm.default: _product(aten.mm.default),
    aten.bmm.default: _product(aten.bmm.default),
    aten.div.Tensor: _quotient,
    aten.abs.default: _modulus,
    aten._conj.default: _conjugate,  # noqa: SLF001  torch's name
    aten.conj_physical.default: _conjugate,
    aten.resolve_conj.default: lambda x: x,
    aten._fft_r2c.default: _r2c,  # noqa: SLF001  torch's name
    aten._fft_c2c.default: _c2c,  # noqa: SLF001  torch's name
    aten._fft_c2r.default: _c2r,  # noqa: SLF001  torch's name
}
# operations that act on both parts alike: rearrangements, and sums over axes
PARTWISE = frozenset(
    {
        aten.permute.default,
        aten.select.int,
        aten.slice.Tensor,
        aten.expand.default,
        aten.unsqueeze.default,
        aten.squeeze.dims,
        aten.squeeze.dim,
        aten.clone.default,
        aten.alias.default,
        aten.cat.default,
        aten.constant_pad_nd.default,
        aten.index_select.default,
        aten.index.Tensor,
        aten.flip.default,
        aten.neg.default,
        aten.sum.dim_IntList,
        aten.mean.dim,
        aten._to_copy.default,  # noqa: SLF001  torch's name
        aten.zeros_like.default,
        aten.select_scatter.default,
        aten.slice_scatter.default,
    }
)
