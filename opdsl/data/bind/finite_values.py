"""Refuse values that are not finite, and report those that float32 cannot hold."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from opdsl.data.bind.samples import Fields, Role
from opdsl.data.io.float_range import too_large, too_small
from opdsl.diagnostics import Diagnostic, Help
from opdsl.nn.points.batch import all_values, map_values, split_samples


def bad_values(fields: Fields, name: str, role: Role) -> Iterator[Diagnostic]:
    """Yield diagnostics of values that float32 cannot hold or that are not finite."""
    diagnostic = _not_finite(fields, name) or too_large(fields, name)
    diagnostic = diagnostic or too_small(fields, name, needed=role == "output")
    if diagnostic:
        yield diagnostic


def _not_finite(fields: Fields, name: str) -> Diagnostic | None:
    total = all_values(fields.values[name]).sum(dtype=torch.float64)
    if total.isfinite():  # one pass without a copy; a sum that overflows is looked at below
        return None
    bad = map_values(fields.values[name], lambda x: ~torch.isfinite(x))
    count = int(all_values(bad).sum())
    if not count:
        return None
    first = fields.start + next(i for i, x in enumerate(split_samples(bad)) if x.any())
    helps = ["leave such samples out of the file: a model cannot learn from them"]
    if all_values(fields.values[name]).isnan().any():
        helps.append("or, if NaN stands for values that are missing: `data { missing = mask }`")
    values = "1 value" if count == 1 else f"{count} values"
    return Diagnostic(
        "OP0612",
        f"`{name}` holds {values} not finite, first in sample {first}",
        helps=tuple(Help(x) for x in helps),
        file=fields.source,
    )
