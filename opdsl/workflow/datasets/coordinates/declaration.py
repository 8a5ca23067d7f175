"""Declarations of domains that agree with a file, for messages."""

from __future__ import annotations

from collections.abc import Sequence

from opdsl.export.declared import DomainNames
from opdsl.ir.axes import Axis
from opdsl.ir.spaces import Domain, Sampling


def declaration(domain: Domain, axes: Sequence[Axis], sampling: Sampling | None) -> str:
    """Write the statement that declares a domain with these axes.

    Args:
        domain: a declared domain, without steps.
        axes: its axes as a file has them.
        sampling: of the latitudes, for a sphere.
    """
    update = {"axes": tuple(axes), "sampling": sampling if domain.kind == "sphere" else None}
    (text,) = DomainNames(lambda name: name).declare(domain.model_copy(update=update))
    return text
