"""UQNO: an FNO for the solution and one for the width of a band around it.

The band is not calibrated: that needs data, see `opdsl calibrate`.

Source: neuralop/models/uqno.py at 93d3f06.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from opdsl.migrate.neuralop.draft import (
    BOOKKEEPING,
    ConstructorCall,
    ConstructorOptions,
    Draft,
    Shapes,
    WeightSource,
    not_importable,
    options_of,
)
from opdsl.migrate.neuralop.models.fno import Stack, stack_of
from opdsl.migrate.neuralop.models.fno_options import FNOOptions, TFNOOptions, notes

PARTS = {"FNO": FNOOptions, "TFNO": TFNOOptions}
FROZEN = "the first output is not trained there; train the second with the first kept as it is"


class UQNOOptions(ConstructorOptions):
    """Arguments of the constructor of `UQNO`; its models are constructor calls."""

    base_model: Any
    residual_model: Any = None


def uqno(name: str, o: UQNOOptions, shapes: Shapes, *, corrected: bool) -> Draft:
    """Write the program of a UQNO of two FNOs, with the outputs `solution` and `width`.

    Raises:
        OpError: OP0641, an option that has no counterpart.
    """
    calls = (o.base_model, o.residual_model or o.base_model)
    parts = [
        _stack(name, x, part, shapes, corrected)
        for x, part in zip(calls, ("base_model", "residual_model"), strict=True)
    ]
    names = (("Base", "solution", "base_model."), ("Residual", "width", "residual_model."))
    stacks = [replace(x, prefix=p) for (x, _), (p, _, _) in zip(parts, names, strict=True)]
    blocks: list[str] = []
    takes: list[WeightSource] = []
    for stack, (prefix, output, theirs) in zip(stacks, names, strict=True):
        blocks += [*(x.definition(y) for x, y in stack.names().items()), _block(stack, prefix)]
        takes += _takes(stack, output, theirs)
    first = stacks[0]
    domain = first.levels.declaration(first.layers, first.ends, (0.0,) * first.levels.axes)
    ports = [
        *domain,
        f"input x : D -> R^{first.inward}",
        f"output solution : D -> R^{first.out}",
        f"output width : D -> R^{stacks[1].out}",
    ]
    body = "\n".join(f"  {x}" for x in [*ports, "", "solution = Base(x)", "width = Residual(x)"])
    text = "\n\n".join([*blocks, f"model {name} {{\n{body}\n}}"])
    messages = dict.fromkeys(y for _, x in parts for y in x)
    return Draft(text, tuple(takes), (FROZEN, *messages))


def _stack(
    name: str, made_by: Any, part: str, shapes: Shapes, corrected: bool
) -> tuple[Stack, tuple[str, ...]]:
    """Build one of the two operators; return it and its notes."""
    kind = made_by.name if isinstance(made_by, ConstructorCall) else type(made_by).__name__
    if not isinstance(made_by, ConstructorCall) or kind not in PARTS:
        raise not_importable(name, f"a `{kind}` as `{part}`", f"known: {', '.join(PARTS)}")
    options = options_of(PARTS[kind], kind, made_by.args, made_by.named)
    own = {k.removeprefix(f"{part}."): x for k, x in shapes.items() if k.startswith(f"{part}.")}
    stack = stack_of(kind, options, own, corrected=corrected)
    if stack.complex:
        raise not_importable(name, f"`complex_data = True` in its `{part}`")
    if stack.levels.any:
        raise not_importable(name, f"a change of resolution in its `{part}`")
    return stack, tuple(notes(options, stack.levels, corrected=corrected))


def _block(stack: Stack, name: str) -> str:
    """Write an operator as a block."""
    lines, _ = stack.body()
    inner = [x.strip() for x in stack.levels.declaration(stack.layers, stack.ends, stack.padding)]
    ports = ["domain D : grid", *inner[1:], *stack.ports()]
    body = "\n".join(f"  {x}" for x in ports)
    return f'block {name} "an FNO of neuraloperator" {{\n{body}\n\n{lines.text("y")}\n}}'


def _takes(stack: Stack, path: str, theirs: str) -> Iterator[WeightSource]:
    lines, layers = stack.body()
    for x in (*lines.taken("y", "", ""), *layers):
        yield WeightSource(f"{path}.{x.ours}", tuple(theirs + y for y in x.theirs), x.change)


def uqno_arguments(module: Any) -> dict[str, Any]:
    """Recover the constructor calls of its two models."""
    return {x: _call(getattr(module, x)) for x in ("base_model", "residual_model")}


def _call(module: Any) -> Any:
    init_kwargs = getattr(module, "_init_kwargs", None)
    if init_kwargs is None:
        return module
    arguments = {k: x for k, x in init_kwargs.items() if k not in BOOKKEEPING}
    return ConstructorCall(type(module).__name__, tuple(init_kwargs.get("args", ())), arguments)
