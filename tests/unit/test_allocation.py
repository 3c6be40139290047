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

if {kept}:
    keep_freed()
first, _, third = batch(), batch(), batch()
print(first, third)
"""


def told(*, kept):
    program = [sys.executable, "-c", BATCHES.format(kept=kept)]
    return map(int, subprocess.run(program, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told")
def test_a_batch_takes_what_the_one_before_it_freed():
    first, third = told(kept=True)
    assert third < first / 20


def test_without_being_told_every_batch_asks_the_system():
    first, third = told(kept=False)
    assert third > first / 20
