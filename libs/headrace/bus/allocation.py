"""How a service holds memory: what a batch gave back is there for the next one, not returned to the system between."""

import ctypes

import pyarrow as pa

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
KEPT = 128 << 20  # bytes free at the end of a heap before they are returned
LARGE = 32 << 20  # bytes from which an allocation is the system's own; glibc takes no more


def keep_freed() -> None:
    """Let glibc keep what is freed, and Arrow allocate by it; with another C library nothing changes.

    A batch frees tens of megabytes that the next one asks for again, and the kernel cleared each page of them every time.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return
    mallopt(_TRIM_THRESHOLD, KEPT)
    mallopt(_MMAP_THRESHOLD, LARGE)
    pa.set_memory_pool(pa.system_memory_pool())
