"""Devices by name: `auto`, `cpu`, `cuda:1`, `mps`."""

import torch

from opdsl.diagnostics import fault


def device_of(name: str) -> torch.device:
    """Return the device of a name; `auto` is CUDA, then MPS, then the CPU.

    Raises:
        OpError: OP0623, the machine has no such device.
    """
    if name == "auto":
        return torch.device(_best())
    device = torch.device(name)
    if not _present(device):
        available = ", ".join(f"`{x}`" for x in _here())
        raise fault(
            "OP0623", f"there is no `{name}` on this machine", helps=(f"it has {available}",)
        )
    return device


def _best() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _present(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    return device.type != "mps" or torch.backends.mps.is_available()


def _here() -> list[str]:
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]
