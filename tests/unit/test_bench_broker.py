"""What the bench reads from the output of Kafka's perf tools (4.3)."""

import pytest

from bench.broker import consumed, produced
from headrace.errors import HeadraceError

PRODUCER = """\
In steady state.
521466 records sent, 103199.3 records/sec (11.81 MB/sec), 1525.4 ms avg latency, 2360.0 ms max latency.
1000000 records sent, 380662.35 records/sec (43.56 MB/sec), 74.33 ms avg latency, 434.00 ms max latency, 41 ms 50th
800000 steady state records sent, 501253.13 records/sec (57.36 MB/sec), 85.38 ms avg latency
"""
CONSUMER = """\
start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec
2026-11-21 19:08:41:829, 2026-11-21 19:08:43:223, 114.4409, 82.0954, 1000000, 717360.1148, 467, 927, 123.4530, 1078748.6516
"""


def test_the_producers_rate_is_the_one_after_its_warm_up():
    assert produced(PRODUCER) == 501253.13


def test_the_consumers_rate_leaves_out_the_joining_of_its_group():
    assert consumed(CONSUMER) == (1_000_000, 1078748.6516)


@pytest.mark.parametrize("read", [produced, consumed])
def test_output_without_a_rate_is_an_error_and_no_figure(read):
    with pytest.raises(HeadraceError, match="told no rate"):
        read("Exception in thread main\n")
