"""One thread for a model's arithmetic: another count sums in another order and changes bits."""

import os

import threadpoolctl  # type: ignore[import-untyped]

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_limits: list[threadpoolctl.threadpool_limits] = []


def single_thread() -> None:
    """Hold OpenMP and BLAS at one thread from now on in this process, loaded already or not; harmless twice."""
    os.environ.update(dict.fromkeys(_VARIABLES, "1"))
    if not _limits:
        _limits.append(threadpoolctl.threadpool_limits(limits=1))
