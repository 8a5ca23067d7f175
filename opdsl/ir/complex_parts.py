"""The rule for blocks that take complex functions apart."""

from opdsl.ir.block import Refusal
from opdsl.ir.spaces import Space


def needs_complex(keyword: str, x: Space) -> None:
    """Check that `x` has complex values.

    Raises:
        Refusal: OP0312, they are real.
    """
    if x.complex:
        return
    raise Refusal(
        "OP0312",
        f"`{keyword}` takes complex functions",
        f"`{x}` is real",
        at=0,
        helps=("leave it out, or make the function complex first: `complex(v)`",),
    )


def real_part_of(x: Space) -> Space:
    """Return the space of real functions on the same domain, with as many channels."""
    return Space(domain=x.domain, channels=x.channels)
