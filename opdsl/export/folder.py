"""A compiled model as a folder: the program, its graph, its weights, and checksums of all three.

    model.safetensors   the weights, by path
    resolved.op         the program
    ir.json             the graph, see `opdsl.export.ir`
    opdsl.json          versions, fingerprint, sha256 of the other files

The folder is written whole or not at all. Nothing in it is ever executed: there is no pickle, and
checksums are compared before anything is read.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opdsl.diagnostics import OpError, fault
from opdsl.export.ir import to_json
from opdsl.files import read_json, read_regular, write_folder
from opdsl.ir.graph import Graph
from opdsl.memory import free_memory
from opdsl.version import VERSION

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = 1
WEIGHTS, PROGRAM, IR, MANIFEST = "model.safetensors", "resolved.op", "ir.json", "opdsl.json"
PARTS = (WEIGHTS, PROGRAM, IR)


@dataclass(frozen=True, slots=True)
class CompiledFolder:
    """The contents of a folder.

    Attributes:
        text: the program.
        ir: the graph as JSON.
        weights: for `load_state_dict` of the module.
        manifest: versions, fingerprint and checksums.
    """

    text: str
    ir: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    manifest: Mapping[str, Any]


def save_compiled(graph: Graph, module: nn.Module, text: str, out: Path) -> Path:
    """Write the folder `out`, which must not exist yet.

    Args:
        module: the module of the graph; its weights are written.
        text: the program.

    Raises:
        OpError: OP0625, the folder exists or cannot be written.
    """
    out = Path(out)
    if out.exists():
        message = "the folder for the compiled model exists already"
        raise fault("OP0625", message, helps=("name another one, or remove it",), file=str(out))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_folder(out, _files(graph, module, text))
    except OSError as error:
        raise _not_written(out, error) from error
    return out


def load_compiled(folder: Path) -> CompiledFolder:
    """Read a folder after comparing its checksums.

    Raises:
        OpError: OP0621, a file is missing, altered or of a newer format.
    """
    folder = Path(folder)
    manifest = _manifest(folder)
    data = {name: _read_checked(folder, name, manifest["sha256"].get(name)) for name in PARTS}
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        ir, text, weights = json.loads(data[IR]), data[PROGRAM].decode(), load(data[WEIGHTS])
    except (ValueError, RecursionError, SafetensorError) as error:
        raise _damaged(folder, f"a file in it cannot be read: {error}") from error
    return CompiledFolder(text, ir, weights, manifest)


# --- writing ----------------------------------------------------------------------------------


def _files(graph: Graph, module: nn.Module, text: str) -> dict[str, bytes]:
    from safetensors.torch import save

    ir = to_json(graph)
    weights = {k: x.detach().cpu().contiguous() for k, x in module.state_dict().items()}
    parts = {WEIGHTS: save(weights), PROGRAM: text.encode(), IR: _json(ir)}
    sums = {name: hashlib.sha256(x).hexdigest() for name, x in parts.items()}
    # the manifest last: a folder with it is complete
    return parts | {MANIFEST: _json(_manifest_of(graph, ir["hashes"], sums))}


def _manifest_of(
    graph: Graph, hashes: Mapping[str, str], sums: Mapping[str, str]
) -> dict[str, Any]:
    import torch

    versions = {
        "opdsl": VERSION,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }
    return {
        "format": FORMAT,
        "model": graph.name,
        "versions": versions,
        "hashes": dict(hashes),
        "sha256": dict(sums),
    }


def _json(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _not_written(out: Path, error: OSError) -> OpError:
    reason = (error.strerror or str(error)).lower()
    message = f"the compiled model could not be written: {reason}"
    return fault("OP0625", message, helps=("nothing was left behind",), file=str(out))


# --- reading ----------------------------------------------------------------------------------


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = read_json(folder / MANIFEST)
    except OSError as error:
        raise _damaged(folder, f"it has no readable `{MANIFEST}`") from error
    except ValueError as error:
        raise _damaged(folder, f"`{MANIFEST}` is no JSON") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("sha256"), dict):
        raise _damaged(folder, f"`{MANIFEST}` lists no sums")
    if manifest.get("format") != FORMAT:
        raise _damaged(folder, f"its format is {manifest.get('format')!r}, known is {FORMAT}")
    return manifest


def _read_checked(folder: Path, name: str, expected: object) -> bytes:
    try:
        data = read_regular(folder / name, free_memory() // 2)
    except FileNotFoundError as error:
        raise _damaged(folder, f"`{name}` is missing") from error
    except OSError as error:
        raise _damaged(folder, f"`{name}` cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != expected:
        raise _damaged(folder, f"`{name}` is not what was written: its sha256 differs")
    return data


def _damaged(folder: Path, what: str) -> OpError:
    message = f"this is no whole compiled model: {what}"
    return fault("OP0621", message, helps=("compile the program again",), file=str(folder))
