"""Several processes that train one network together, started inside the lock of its artifact by who holds that.

Each builds the same network and lesson and is one rank of a process group (torch.distributed): nccl between GPUs, gloo
between processes on a CPU, on this machine's loopback alone. The first writes checkpoints into the draft, the last one
when all steps are done: whoever started them continues behind that, as it would after its own death.

They live no longer than who started them, and end together: where one fails or is killed, nothing is left of the others
but the draft, which the next run continues.
"""

import atexit
import logging
import os
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # documented, and not in __all__

from taskdistill.configs.base import StageConfig
from taskdistill.configs.errors import UserError
from taskdistill.tasks.child_process import LogMessages, Progress, Send, how_it_ended, log_again
from taskdistill.tasks.data.worker_process import end_all
from taskdistill.tasks.models.device import devices_of_ranks
from taskdistill.tasks.stage import OnProgress, StageContext, no_progress

log = logging.getLogger(__name__)

C = TypeVar("C", bound=StageConfig)

LOOPBACK = "127.0.0.1"
LONGEST_WAIT = timedelta(days=1)
"""Of one rank for another: longer than any validation. One that died is seen by who started it, at once."""
CAUSE_SECONDS = 2.0
"""For how long a rank that failed may have done so because another was killed."""


class RankKilledError(UserError):
    """One of several ranks ended before its work was done; the message says which, and how."""


class RankFaultError(RuntimeError):
    """A rank met a fault of the program; the message is its traceback."""


class _Rank(NamedTuple):
    """What a process is told besides its number."""

    port: int
    devices: Sequence[torch.device]
    target: Connection
    """For messages to who started it."""


def on_ranks(train: Callable[[C, StageContext], object], config: C, context: StageContext) -> None:
    """Have `train`, a function of a module, called by `runtime.ranks` processes that train together, and wait for all
    of them; where that is 1, do nothing: the caller trains alone.

    Raises the error of a rank that failed, RankKilledError, and ModelError where there are fewer GPUs than ranks.
    """
    ranks = context.runtime.ranks
    if ranks == 1:
        return
    devices = devices_of_ranks(context.runtime)
    log.info("training on %d ranks: %s", ranks, ", ".join(map(str, devices)))
    theirs = replace(context, runtime=context.runtime.of_one_rank(), on_progress=no_progress, dispatch=None)
    with _meeting_place(ranks) as port, _started(train, config, theirs, port, devices) as (processes, sources):
        _wait(processes, sources, context.on_progress)


@contextmanager
def _meeting_place(ranks: int) -> Iterator[int]:
    """Yield the port of a store of torch.distributed, where ranks find each other."""
    with closing(socket.create_server((LOOPBACK, 0))) as free:
        port = int(free.getsockname()[1])
        # The store listens on a socket of ours, which it closes: by itself it would on all addresses of this machine.
        listening = os.dup(free.fileno())
        store = TCPStore(LOOPBACK, port, ranks, True, wait_for_workers=False, master_listen_fd=listening)
        yield port
        del store


@contextmanager
def _started(
    train: Callable[[C, StageContext], object],
    config: C,
    context: StageContext,
    port: int,
    devices: Sequence[torch.device],
) -> Iterator[tuple[list[SpawnProcess], list[Connection]]]:
    """Yield a process for each rank, and where its messages are read; at the end none of them is left."""
    spawning, processes, sources = get_context("spawn"), list[SpawnProcess](), list[Connection]()
    # They are no daemons, which may not have the worker processes of runtime.loading. So this process would wait for
    # them at its end, also where Ctrl-C came a second time, before they were killed.
    atexit.register(_kill, processes)
    try:
        for rank in range(len(devices)):
            source, target = spawning.Pipe(duplex=False)
            arguments = (rank, _Rank(port, devices, target), train, config, context)
            processes.append(spawning.Process(target=_main, args=arguments, name=f"rank-{rank}"))
            sources.append(source)
            processes[-1].start()
            target.close()  # who reads would else not see that its writer is dead
        yield processes, sources
    finally:
        _kill(processes)
        for process in processes:
            if process.pid is not None:
                process.join()
        atexit.unregister(_kill)


def _kill(processes: Sequence[SpawnProcess]) -> None:
    for process in processes:
        if process.pid is not None:
            process.kill()  # a draft may be left at any moment


def _wait(processes: Sequence[SpawnProcess], sources: Sequence[Connection], on_progress: OnProgress) -> None:
    """Pass on what ranks say until all of them are over."""
    at_work = {process.sentinel: rank for rank, process in enumerate(processes)}
    talking = list(sources)
    while at_work or talking:
        for ready in connection.wait([*at_work, *talking]):
            if isinstance(ready, Connection):
                if not _heard(ready, processes, on_progress):
                    talking.remove(ready)
            else:
                del at_work[ready]  # type: ignore[arg-type]
                _check_ends(processes)


def _heard(source: Connection, processes: Sequence[SpawnProcess], on_progress: OnProgress) -> bool:
    """Pass on a message, or raise the error it tells of; False where there will be no more."""
    try:
        message = source.recv()
    except EOFError:
        return False
    match message:
        case {"progress": [unit, done, total]}:
            on_progress(unit, done, total)
        case {"log": [name, level, text]}:
            log_again(name, level, text)
        case {"failed": error}:
            raise error
        case {"fault": text, "rank": rank}:
            # One that lost its connection to another may be heard of before that other's death is known.
            connection.wait([process.sentinel for process in processes], timeout=CAUSE_SECONDS)
            _check_ends(processes)
            raise RankFaultError(f"rank {rank} met a fault of the program:\n{text}")
    return True


def _check_ends(processes: Sequence[SpawnProcess]) -> None:
    for rank, process in enumerate(processes):
        if process.exitcode:  # neither None, at work, nor 0, done
            ranks = len(processes)
            how = how_it_ended(process.exitcode, f"runtime.ranks ({ranks} now)")
            raise RankKilledError(f"rank {rank} of {ranks} (process {process.pid}) {how}")


def _main(rank: int, told: _Rank, train: Callable[[C, StageContext], object], config: C, context: StageContext) -> None:
    """Be one rank, in a process of its own."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # A signal from the terminal is meant for who started this, and ends what that one wants ended.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.dup2(2, 1)  # libraries print, and the output of who started this may be read by a program
    send = _sender(told.target)
    # All ranks see the same: one of them says it.
    handler = LogMessages(send) if rank == 0 else logging.NullHandler()
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])
    if rank == 0:
        context = replace(context, on_progress=Progress(send))
    try:
        with _process_group(rank, told):
            train(config, context)
        end_all()
    except (UserError, OSError) as error:
        send({"failed": error})
        threading.Event().wait()  # to be ended: others would take its end for the fault
    except BaseException:
        send({"fault": traceback.format_exc(), "rank": rank})
        threading.Event().wait()


@contextmanager
def _process_group(rank: int, told: _Rank) -> Iterator[None]:
    device, ranks = told.devices[rank], len(told.devices)
    is_gpu = device.type == "cuda"
    if is_gpu:
        torch.cuda.set_device(device)
    for library in ("GLOO", "NCCL"):  # where the user has not said otherwise
        os.environ.setdefault(f"{library}_SOCKET_IFNAME", _loopback())
    dist.init_process_group(
        "nccl" if is_gpu else "gloo",
        store=TCPStore(LOOPBACK, told.port, ranks, False),
        rank=rank,
        world_size=ranks,
        timeout=LONGEST_WAIT,
        device_id=device if is_gpu else None,
    )
    yield
    dist.destroy_process_group()


def _loopback() -> str:
    """Return the name of the loopback interface: lo on Linux, lo0 on a Mac."""
    return next(name for _, name in socket.if_nameindex() if name.startswith("lo"))


def _sender(target: Connection) -> Send:
    one_at_a_time = threading.Lock()

    def send(message: dict[str, Any]) -> None:
        with one_at_a_time:  # threads of a stage may log
            target.send(message)

    return send


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()  # at a pipe, which the kernel closes at any death
    os._exit(1)
