"""The processes of a run from inside: join the others, speak for all, leave.

`torchrun`, `opdsl train --nproc` and `srun` set RANK and WORLD_SIZE. Modules of torch are imported
where several processes are there, and only then.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opdsl.diagnostics import CODES, OpError, fault
from opdsl.parallel.launch import ALIVE, FOLDER, READY, SPEAKER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.distributed import ProcessGroup, Store  # type: ignore[attr-defined]  # not listed

WAIT = 300.0  # seconds until a process that has not arrived is given up
EXCHANGE = timedelta(minutes=30)  # until an exchange between processes is given up
POLL = 0.2  # seconds between two looks at the store
SLACK = 10.0  # seconds that torch may need beyond its own limit
SECONDARY = 3.0  # seconds in which a process with an error of its own may speak first
LARGEST_PORT = 65535
KEY = "opdsl/"
_STARTERS = "start the processes with `opdsl train --nproc N` or `torchrun`"


def several() -> bool:
    """Return whether this process was started as one of several."""
    return os.environ.get("WORLD_SIZE", "1") not in {"", "0", "1"} and "RANK" in os.environ


_current: list[Processes] = []  # that of this process, once it has begun to join the others


def current() -> Processes | None:
    """Return this process among those of a run; None where it has not begun to join them."""
    return _current[0] if _current else None


def join(wait: float | None = None) -> Processes | None:
    """Join the other processes, once; None where this process was started alone.

    Args:
        wait: seconds until a process that has not arrived is given up; 300 if not given.

    Raises:
        OpError: OP0803, the port is in use; OP0804, a process has not arrived.
    """
    if not several():
        return None
    processes = begin()
    if processes.store is None:
        processes.join(WAIT if wait is None else wait)
    return processes


def begin() -> Processes:
    """Return this process among several, which may not have joined the others yet.

    Raises:
        OpError: OP0804, the environment says no place among them.
    """
    if not _current:
        _current.append(Processes())
    return _current[0]


def leave() -> None:
    """Leave the other processes, if there are some."""
    if _current:
        _current.pop().leave()


class Processes:
    """This process among those of a run; see `join`.

    Attributes:
        rank, world: its number, and how many there are.
        store: through which they meet; None until `join`.
    """

    def __init__(self) -> None:
        self.rank = _number("RANK")
        self.world = _number("WORLD_SIZE")
        self.store: Store | None = None
        if self.rank >= self.world:
            message = f"RANK is {self.rank} and WORLD_SIZE is {self.world}: ranks begin with 0"
            raise fault("OP0804", message, helps=(_STARTERS,), file="train")
        if FOLDER in os.environ:
            with suppress(OSError):  # the process that started this one is gone
                Path(os.environ[FOLDER], f"{READY}{self.rank}").touch()

    def join(self, wait: float = WAIT) -> None:
        """Meet the other processes, and let torch connect them.

        Args:
            wait: seconds until a process that has not arrived is given up.

        Raises:
            OpError: OP0803, the port is in use; OP0804, a process has not arrived; OP0807, there is
                no device for this process.
        """
        self.store = _store(self.rank, self.world, wait)
        import torch
        import torch.distributed as dist

        self._arrive(wait)
        backend = "gloo"
        if torch.cuda.is_available():
            backend = "cpu:gloo,cuda:nccl"
            torch.cuda.set_device(_number("LOCAL_RANK") % torch.cuda.device_count())
        with lost_connections():
            dist.init_process_group(
                backend,
                store=dist.PrefixStore("torch", self.store),  # type: ignore[attr-defined]  # torch does not list it
                rank=self.rank,
                world_size=self.world,
                timeout=timedelta(seconds=WAIT),
            )
        let_exchanges_take_long()

    def leave(self) -> None:
        """Leave the other processes."""
        import torch.distributed as dist

        if dist.is_initialized():
            with suppress(Exception):  # the others may be gone
                dist.destroy_process_group()

    def speaks(self, error: BaseException) -> bool:
        """Return whether this process is the one that reports an error.

        One process reports, the first that asks. A process that has merely lost another one waits
        until that one had the time to say why.
        """
        if is_lost_connection(error):
            if FOLDER in os.environ:
                return False  # the process that started this one sees which one is gone
            try:
                time.sleep(SECONDARY)
            except BaseException:  # noqa: BLE001  torchrun ends the processes that are left
                return False
        return self._claim()

    def _claim(self) -> bool:
        folder = os.environ.get(FOLDER)
        if folder is not None:
            try:
                with Path(folder, SPEAKER).open("x", encoding="utf-8") as file:
                    file.write(str(self.rank))
            except OSError:
                return False
            return True
        if self.store is None:  # nobody could be reached: each would say the same
            alone = self.rank == 1 or _number("LOCAL_RANK") == 0
            return self.rank == 0 or (alone and not _answers())
        try:
            return int(self.store.add(f"{KEY}speaker", 1)) == 1
        except Exception:  # noqa: BLE001  the store went with the first process, which has spoken
            return False

    def _arrive(self, wait: float) -> None:
        """Wait until all processes are there.

        Raises:
            OpError: OP0804, naming those that are not.
        """
        assert self.store is not None
        keys = [f"{KEY}here/{rank}" for rank in range(self.world)]
        end = time.monotonic() + wait
        with lost_connections():
            self.store.set(keys[self.rank], "1")
            while missing := [i for i, key in enumerate(keys) if not self.store.check([key])]:
                if time.monotonic() > end:
                    raise _not_arrived(missing, self.world, wait)
                time.sleep(min(POLL, wait / 10))


def is_lost_connection(error: BaseException) -> bool:
    """Return whether an exception says that another process is gone."""
    if isinstance(error, ConnectionError):
        return True
    if not isinstance(error, RuntimeError) or "torch" not in sys.modules:
        return False
    import torch.distributed as dist

    if dist.is_available() and isinstance(error, dist.DistError):
        return True
    text = str(error)
    return any(x in text for x in ("gloo", "Gloo", "NCCL", "Connection closed", "Connection reset"))


def let_exchanges_take_long(group: ProcessGroup | None = None) -> None:
    """Give exchanges of a group the time that they may need; forming it has less.

    Args:
        group: of processes; that of all if not given.
    """
    from torch.distributed.distributed_c10d import _set_pg_timeout

    _set_pg_timeout(EXCHANGE, group)


def watch_starter() -> None:
    """Ask this process to stop when the one that has started it is gone."""
    number = os.environ.pop(ALIVE, None)
    if number is None:
        return

    def watch() -> None:
        with suppress(OSError):
            os.read(int(number), 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def lost_connections() -> Iterator[None]:
    """Turn exceptions that say that another process is gone into `ConnectionError`."""
    try:
        yield
    except OpError:
        raise
    except Exception as error:
        if not is_lost_connection(error):
            raise
        raise ConnectionError(str(error)) from error


def _store(rank: int, world: int, wait: float) -> Store:
    """Open the store through which the processes meet.

    Raises:
        OpError: OP0803, OP0804.
    """
    # torch prints stacks of C++ about connections that fail, which a diagnostic explains
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    import torch.distributed as dist

    folder = os.environ.get(FOLDER)
    if folder is not None:
        path = str(Path(folder, "store"))
        return dist.FileStore(path, world)  # type: ignore[attr-defined]  # torch does not list it
    # torchrun serves the store itself; else the first process does
    serves = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    address, port = _address()
    results: list[Any] = []

    def connect() -> None:
        seconds = timedelta(seconds=wait)
        try:
            store = dist.TCPStore(  # type: ignore[attr-defined]  # torch does not list it
                address, port, world, serves, timeout=seconds, wait_for_workers=False
            )
        except RuntimeError as error:
            results.append(error)
        else:
            results.append(store)

    # another program at the port may never answer, for which torch would wait without an end
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(2 * wait + SLACK)
    if thread.is_alive():
        atexit.register(_exit_at_once)
    result = results[0] if results else None
    if isinstance(result, RuntimeError) or result is None:
        if "address already in use" in str(result).lower() or "EADDRINUSE" in str(result):
            raise _in_use(address, port) from result
        raise _no_answer(address, port, wait) from result
    # the store of torchrun outlives the processes: keys of those before a restart are in it
    prefix = f"restart-{restarts()}"
    return dist.PrefixStore(prefix, result)  # type: ignore[attr-defined]  # torch does not list it


def restarts() -> int:
    """Return how often torchrun has started the processes again, after one was gone."""
    return _number("TORCHELASTIC_RESTART_COUNT")


def _exit_at_once() -> None:
    """End this process as after OP0804, though a thread waits, which C++ would call a fault."""
    os._exit(CODES["OP0804"].exit)


def _address() -> tuple[str, int]:
    """Return where the first process serves the store.

    Raises:
        OpError: OP0804, the port is none.
    """
    port = _number("MASTER_PORT", 29500)
    if not 0 < port <= LARGEST_PORT:
        message = f"the variable MASTER_PORT of the environment is `{port}`, which is no port"
        helps = (f"take a number from 1 to {LARGEST_PORT}", _STARTERS)
        raise fault("OP0804", message, helps=helps, file="train")
    return os.environ.get("MASTER_ADDR", "127.0.0.1"), port


def _answers() -> bool:
    """Return whether the first process can be reached."""
    import socket

    try:
        with socket.create_connection(_address(), timeout=1):
            return True
    except OSError:
        return False
    except OpError:  # no port: the first process says so
        return True


def _number(name: str, default: int = 0) -> int:
    """Return a number of the environment.

    Raises:
        OpError: OP0804, it is none.
    """
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        message = f"the variable {name} of the environment is `{text}`, not a number"
        raise fault("OP0804", message, helps=(_STARTERS,), file="train")
    return int(text)


def _in_use(address: str, port: int) -> OpError:
    message = f"port {port} of {address} is in use by another program"
    helps = (
        "choose another port: `torchrun --master-port PORT ...`, or MASTER_PORT=PORT",
        "on one machine `opdsl train --nproc N` needs no port",
    )
    return fault("OP0803", message, helps=helps, file="train")


def _no_answer(address: str, port: int, wait: float) -> OpError:
    message = f"process 0 did not answer at {address}, port {port}, within {wait:g} s"
    helps = (
        "look whether process 0 was started, and whether the network lets its port through",
        "wait longer: `--wait SECONDS`",
    )
    return fault("OP0804", message, helps=helps, file="train")


def _not_arrived(missing: list[int], world: int, wait: float) -> OpError:
    names = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
    noun = "process" if len(missing) == 1 else "processes"
    verb = "has" if len(missing) == 1 else "have"
    message = f"{noun} {names} of {world} {verb} not arrived within {wait:g} s"
    helps = (
        "look whether every node has started its processes",
        "wait longer: `--wait SECONDS`",
    )
    return fault("OP0804", message, helps=helps, file="train")
