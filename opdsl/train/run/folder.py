"""A run's folder: empty or one's own, and for one process at a time."""

import json
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opdsl.diagnostics import OpError, fault
from opdsl.files import naming, open_regular

LOCK = ".lock"
METRICS = "metrics.jsonl"
WEIGHTS = "model.safetensors"
CHECKPOINTS = "checkpoints"
ABOUT = "opdsl.json"  # versions, where the data are; the normaliser too in earlier versions


def refuse_used(run: Path, *helps: str) -> None:
    """Refuse a folder for a new run that exists and is not empty.

    Args:
        run: the folder.
        helps: what to do instead, for commands without `--resume` and `--out`.

    Raises:
        OpError: OP0624, it holds something.
    """
    if run.is_dir() and any(p.name != LOCK for p in run.iterdir()):
        raise _used(run, "is not empty", *helps)
    if run.exists() and not run.is_dir():
        raise _used(run, "is a file", *helps)


def refuse_other_run(run: Path) -> None:
    """Refuse a folder for a new run where another run has left metrics or checkpoints.

    Weaker than `refuse_used`, because the caller may have put the program there before.

    Raises:
        OpError: OP0624, there is a run.
    """
    if (run / METRICS).exists() or (run / CHECKPOINTS).exists():
        raise _used(run, "holds another run")


def refuse_links(run: Path) -> None:
    """Refuse links in a run folder; the folder itself may be reached by one.

    A link in a folder that somebody else has prepared would lead reading and writing elsewhere,
    and a FIFO or a device would be waited for.

    Raises:
        OpError: OP0628, naming the first entry that is neither a file nor a folder.
    """
    if not os.path.isdir(run):  # noqa: PTH112  false also for a name that is too long or has NUL
        return
    for folder, folders, files in os.walk(run):
        for name in sorted((*folders, *files)):
            path = Path(folder, name)
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:  # a run in progress removes its old checkpoints
                continue
            if stat.S_ISLNK(mode):
                raise _linked(run, path, "a link")
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise _linked(run, path, "neither a file nor a folder")


def _linked(run: Path, path: Path, what: str) -> OpError:
    message = f"the run folder contains `{path.relative_to(run)}`, which is {what}"
    helps = ("remove it, or put a copy of the file in its place",)
    notes = ("a run reads and writes its own files only, and a link could lead to any other",)
    return fault("OP0628", message, notes=notes, helps=helps, file=str(run))


@contextmanager
def lock(run: Path) -> Iterator[None]:
    """Hold the folder; the system lets go when the process dies, however it dies.

    Raises:
        OpError: OP0624, another process holds it; OP0628, the folder contains a link.
    """
    run.mkdir(parents=True, exist_ok=True)
    refuse_links(run)
    handle = open_regular(run / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    try:
        if os.fstat(handle).st_nlink != 1:  # a hard link: truncating would destroy the other file
            raise _linked(run, run / LOCK, "a second name of another file")
        _seize(handle, run)
        try:
            yield
        finally:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _used(run: Path, what: str, *helps: str) -> OpError:
    helps = helps or (
        "go on with that run: `--resume`",
        "or begin in another folder: `--out FOLDER`",
    )
    return fault("OP0624", f"the run folder {what}", file=str(run), helps=helps)


def _seize(handle: int, run: Path) -> None:
    """Take the lock and write our name into it.

    Some network file systems keep locks from other hosts to themselves, so a name from another
    host counts as held; a name from this host whose lock is free belonged to a process that died.
    """
    owner = _owner(handle)
    ours = {"pid": os.getpid(), "host": socket.gethostname()}
    if not _free(handle) or owner.get("host", ours["host"]) != ours["host"]:
        raise _held(run, owner)
    with naming(run / LOCK):
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(ours).encode(), 0)


def _free(handle: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: the folder is not guarded there
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(handle: int) -> dict[str, object]:
    try:
        owner = json.loads(os.pread(handle, 4096, 0))
    except (ValueError, RecursionError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _held(run: Path, owner: dict[str, object]) -> OpError:
    holder = f"process {owner.get('pid', '?')} on {owner.get('host', 'this host')}"
    helps = (
        "wait for it, or use another folder: `--out FOLDER`",
        f"if that process is gone, delete {run / LOCK}",
    )
    return fault("OP0624", f"the run folder is in use by {holder}", file=str(run), helps=helps)
