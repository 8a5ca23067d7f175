"""Groups of processes that do not wait half an hour for one that is gone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import torch.distributed as dist

from opdsl.parallel.processes import WAIT, let_exchanges_take_long


def form_group(
    groups: Sequence[Sequence[int]] | None = None,
    *,
    backend: str | None = None,
    wait: float = WAIT,
) -> dist.ProcessGroup:
    """Form groups of the processes that torch has connected; all of them call it at a time.

    Args:
        groups: the ranks in each, every process in one of them; one group of all if not given.
        backend: of torch; that of the default group if not given.
        wait: seconds until a process that does not come is given up, where torch waits as long as
            for an exchange.

    Returns:
        The group of this process.

    Raises:
        ConnectionError: a process has not come.
    """
    limit, rank = timedelta(seconds=wait), dist.get_rank()
    own: dist.ProcessGroup | None = None
    try:
        for ranks in groups or [range(dist.get_world_size())]:
            group = dist.new_group(list(ranks), timeout=limit, backend=backend)
            if rank in ranks:
                own = group
    except RuntimeError as error:
        raise ConnectionError(str(error)) from error
    assert own is not None, "every process is in a group"
    let_exchanges_take_long(own)
    return own
