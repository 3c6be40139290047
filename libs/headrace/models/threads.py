"""One thread for a model's arithmetic: another count sums in another order and changes bits."""

import os
import threading

import threadpoolctl  # type: ignore[import-untyped]

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_done = threading.local()  # OpenMP keeps its number by calling thread


def single_thread() -> None:
    """Hold OpenMP and BLAS at one thread for calls from this thread, loaded already or not; harmless twice."""
    os.environ.update(dict.fromkeys(_VARIABLES, "1"))
    if not hasattr(_done, "limits"):
        _done.limits = threadpoolctl.threadpool_limits(limits=1)
