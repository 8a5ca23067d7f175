"""A 16-byte digest of a tensor, computed on the device of the tensor.

Each number is mixed with its index by the finaliser of SplitMix64 (Steele, Lea and Flood 2014,
doi:10.1145/2714064.2660195), and the results are summed twice. So an accelerator sends two numbers
and not the whole tensor.
"""

from __future__ import annotations

from hashlib import blake2b

import torch
from torch import Tensor

SIZE = 16  # bytes: that two of a million are the same is as likely as one in 10^26
BLOCK = 1 << 14  # numbers that are mixed together: as many as the cache of a core holds
ACCELERATOR_BLOCK = 1 << 22  # the same on an accelerator, which large blocks keep busy
STEP = -7046029254386353131  # 2^64 / golden ratio, as a number with a sign
MIX_ONE = -4658895280553007687
MIX_TWO = -7723592293110705685


def digest(x: Tensor) -> bytes:
    """Digest values, shape and dtype of a tensor; equal tensors have one digest on every device."""
    bits = _bits(x.detach())
    sums = torch.zeros(2, dtype=torch.int64, device=x.device)
    size = BLOCK if x.device.type == "cpu" else ACCELERATOR_BLOCK
    for at, block in zip(range(0, max(1, len(bits)), size), torch.split(bits, size), strict=True):
        place = torch.arange(at + 1, at + 1 + len(block), device=x.device)
        hashes = _mix(block + place * STEP)
        sums[0] += hashes.sum()
        sums[1] += _mix(hashes ^ place).sum()
    key = f"{x.dtype} {tuple(x.shape)}".encode()
    return blake2b(sums.cpu().numpy().tobytes(), digest_size=SIZE, key=key).digest()


def digests(x: Tensor) -> list[bytes]:
    """Digest each of many small tensors, (n, ...): `[digest(y) for y in x]`, but at once."""
    rows = x.detach().contiguous().view(len(x), -1).view(torch.uint8)
    padding = -rows.shape[1] % 8
    rows = torch.cat((rows, rows.new_zeros(len(rows), padding)), 1)
    bits = rows.view(torch.int64)
    place = torch.arange(1, 1 + bits.shape[1], device=x.device)
    key = f"{x.dtype} {tuple(x.shape[1:])}".encode()
    result: list[bytes] = []
    for block in torch.split(bits, max(1, BLOCK // max(1, bits.shape[1]))):
        hashes = _mix(block + place * STEP)
        sums = torch.stack([hashes.sum(1), _mix(hashes ^ place).sum(1)], 1).cpu().numpy()
        result += [blake2b(y.tobytes(), digest_size=SIZE, key=key).digest() for y in sums]
    return result


def _bits(x: Tensor) -> Tensor:
    """View the bytes of a tensor as 64-bit integers, zero-padded at the end."""
    raw = x.contiguous().view(-1).view(torch.uint8)
    padding = -len(raw) % 8
    if padding or raw.storage_offset() % 8:  # a view may begin at an unaligned byte
        raw = torch.cat((raw, raw.new_zeros(padding)))
    return raw.view(torch.int64)


def _mix(z: Tensor) -> Tensor:
    """Mix 64-bit integers in place, one to one; products wrap around."""
    z.bitwise_xor_(_right(z, 30)).mul_(MIX_ONE)
    z.bitwise_xor_(_right(z, 27)).mul_(MIX_TWO)
    return z.bitwise_xor_(_right(z, 31))


def _right(z: Tensor, bits: int) -> Tensor:
    """Shift right, filling with zeros."""
    return (z >> bits).bitwise_and_((1 << (64 - bits)) - 1)
