"""Worker processes: by default Dask starts them on this machine.

With a `scheduler` the work goes to a Dask cluster that runs already (`tcp://host:port`), or to one
that dask-jobqueue starts on Slurm, SGE, PBS, LSF, OAR or HTCondor with the settings of the user's
`~/.config/dask/jobqueue.yaml`.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

from kdspeech.io.errors import InputError

JOB_QUEUES = {
    "slurm": "SLURMCluster",
    "sge": "SGECluster",
    "pbs": "PBSCluster",
    "lsf": "LSFCluster",
    "oar": "OARCluster",
    "htcondor": "HTCondorCluster",
}
_CONNECT_SECONDS = 20
# Keeps glibc from giving memory back to the system after every training batch (Dask's own setting
# makes it do so eagerly): the page faults cost a third of a training's time.
_WORKER_ENVIRON = {
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 1 << 40,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 1 << 25,
}


@contextmanager
def open_client(nj: int, scheduler: str | None = None, retries: int = 3) -> Iterator[Any]:
    """A Dask client of the asked-for kind; what it started ends with it.

    Args:
        nj: processes to start, of one thread each.
        scheduler: None for processes on this machine, the address of a Dask scheduler, or a key of
            JOB_QUEUES.
        retries: how often the work of a worker that died starts again.
    Raises:
        InputError: no such scheduler, or a job queue without its settings.
    """
    import dask
    from distributed import Client

    settings = {"distributed.scheduler.allowed-failures": retries, **_WORKER_ENVIRON}
    with dask.config.set(settings):
        if scheduler is None:
            with _local_cluster(nj) as cluster, Client(cluster) as client:
                yield client
        elif scheduler in JOB_QUEUES:
            with _queue_cluster(scheduler, nj) as cluster, Client(cluster) as client:
                yield client
        else:
            with _connect(scheduler) as client:
                yield client


@contextmanager
def _local_cluster(nj: int) -> Iterator[Any]:
    import logging
    import tempfile

    from distributed import LocalCluster

    with tempfile.TemporaryDirectory(prefix="kdspeech-dask-") as folder:
        with _interrupts_held():
            cluster = LocalCluster(
                n_workers=nj,
                threads_per_worker=1,
                processes=True,
                dashboard_address="127.0.0.1:0",  # any free port: several jobs may run here
                local_directory=folder,
                silence_logs=logging.CRITICAL,
                memory_limit=None,
            )
        with cluster:
            yield cluster


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Threads and processes begun within never see Ctrl-C: it is this process that ends them.

    One that comes meanwhile is handled afterwards.
    """
    resource_tracker.ensure_running()  # else the first process starts it and lifts the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _queue_cluster(name: str, nj: int) -> Iterator[Any]:
    try:
        import dask_jobqueue
    except ImportError as error:
        raise InputError(
            f"--scheduler {name} needs dask-jobqueue: pip install 'kdspeech[cluster]'"
        ) from error
    try:
        cluster = getattr(dask_jobqueue, JOB_QUEUES[name])()
    except ValueError as error:  # no number of cores or no memory set
        reason = str(error).splitlines()[0]
        raise InputError(
            f"--scheduler {name}: {reason} (set it in ~/.config/dask/jobqueue.yaml)"
        ) from error
    with cluster:
        cluster.scale(jobs=nj)
        yield cluster


@contextmanager
def _connect(address: str) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(address, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        names = ", ".join(JOB_QUEUES)
        raise InputError(
            f"--scheduler {address}: no Dask scheduler answers there "
            f"(give tcp://host:port, or one of {names})"
        ) from error
    with client:
        yield client
