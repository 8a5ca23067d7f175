"""A short name for the content of a tensor, found where the tensor is.

What comes in: a tensor on any device. What goes out: 16 bytes, the same for the same numbers. Each
number is mixed with its place by the finaliser of SplitMix64 (Steele, Lea and Flood 2014,
doi:10.1145/2714064.2660195), and the results are added up twice. So one number has to leave an
accelerator, and not all of them.
"""

from __future__ import annotations

from hashlib import blake2b

import torch
from torch import Tensor

SIZE = 16  # bytes: that two of a million are the same is as likely as one in 10^26
BLOCK = 1 << 14  # numbers that are mixed together: what the cache of a core holds
ACCELERATOR_BLOCK = 1 << 22  # the same on an accelerator, which wants to be filled
STEP = -7046029254386353131  # 2^64 / golden ratio, as a number with a sign
MIX_ONE = -4658895280553007687
MIX_TWO = -7723592293110705685


def digest(x: Tensor) -> bytes:
    """The same for tensors of the same numbers, shape and format, wherever they are."""
    bits = _bits(x.detach())
    sums = torch.zeros(2, dtype=torch.int64, device=x.device)
    size = BLOCK if x.device.type == "cpu" else ACCELERATOR_BLOCK
    for at, block in zip(range(0, max(1, len(bits)), size), torch.split(bits, size), strict=True):
        place = torch.arange(at + 1, at + 1 + len(block), device=x.device)
        mixed = _mix(block + place * STEP)
        sums[0] += mixed.sum()
        sums[1] += _mix(mixed ^ place).sum()
    told = f"{x.dtype} {tuple(x.shape)}".encode()
    return blake2b(sums.cpu().numpy().tobytes(), digest_size=SIZE, key=told).digest()


def _bits(x: Tensor) -> Tensor:
    """The bytes as 64-bit numbers, with zeros at the end."""
    raw = x.contiguous().view(-1).view(torch.uint8)
    spare = -len(raw) % 8
    if spare or raw.storage_offset() % 8:  # a part of a tensor may begin anywhere
        raw = torch.cat((raw, raw.new_zeros(spare)))
    return raw.view(torch.int64)


def _mix(z: Tensor) -> Tensor:
    """One to one on 64-bit numbers, in their place; products wrap around."""
    z.bitwise_xor_(_right(z, 30)).mul_(MIX_ONE)
    z.bitwise_xor_(_right(z, 27)).mul_(MIX_TWO)
    return z.bitwise_xor_(_right(z, 31))


def _right(z: Tensor, bits: int) -> Tensor:
    """A shift that fills with zeros."""
    return (z >> bits).bitwise_and_((1 << (64 - bits)) - 1)
