"""The fuzzer finds nothing in the decoder, and finds each fault that is planted."""

import os
import signal
import time

import pytest

from headrace.contracts.codec import Codec
from headrace.contracts.decoded import Decoded
from headrace.testing import fuzz


class Planted:
    """The plain decoder's answers, but for the bodies that begin with ``trigger``."""

    trigger = b""

    def __init__(self, schema):
        self._codec, self._calm = Codec(schema), True

    def decode(self, bodies):
        if not self._calm and any(b.startswith(self.trigger) for b in bodies):
            return self.fail(bodies)
        self._calm = False  # the first call warms the process up
        return self._codec.decode(bodies)


class Crashing(Planted):
    trigger = b"\xed\xa0\x80"

    def fail(self, _):
        os.kill(os.getpid(), signal.SIGSEGV)


class Hanging(Crashing):
    def fail(self, _):
        time.sleep(60)


class Lying(Crashing):
    def fail(self, bodies):
        right = self._codec.decode(bodies)
        lies = {
            n: "because" for n, b in enumerate(bodies) if n in right.errors and b.startswith(self.trigger)
        }
        return Decoded(right.columns, right.good, right.errors | lies)


def test_a_short_run_finds_nothing():
    report = fuzz.fuzz(3_000)
    assert report.clean, report.findings
    assert report.records == 3_000


@pytest.mark.parametrize(
    ("build", "counted", "patience"),
    [(Crashing, "crashes", 30.0), (Hanging, "hangs", 2.0), (Lying, "disagreements", 30.0)],
)
@pytest.mark.slow
def test_a_planted_fault_is_found_and_named(build, counted, patience):
    report = fuzz.fuzz(400, decoder=build, patience=patience)
    assert getattr(report, counted) >= 1
    assert sum([report.crashes, report.hangs, report.disagreements]) == getattr(report, counted)
    assert all(bytes.fromhex(f.body).startswith(build.trigger) for f in report.findings)
