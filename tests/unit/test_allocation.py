"""What a batch freed is there for the next one, without a page fault for each page."""

import subprocess
import sys

import pytest

BATCHES = """
import resource
import numpy as np
import pyarrow as pa
from headrace.bus.allocation import keep_freed

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def batch():
    before = faults()
    held = [np.ones(500_000) for _ in range(10)] + [pa.array(np.ones(500_000)).cast(pa.float32()) for _ in range(10)]
    del held
    return faults() - before

keep_freed()
first, _, third = batch(), batch(), batch()
print(first, third)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told")
def test_a_batch_takes_what_the_one_before_it_freed():
    told = subprocess.run([sys.executable, "-c", BATCHES], capture_output=True, text=True, check=True).stdout
    first, third = map(int, told.split())
    assert third < first / 20
