"""The metric names of every service: what Prometheus scrapes from ``/metrics``.

Ticks measure lag, never consumer offsets: transaction markers keep those apart for ever.
"""

from prometheus_client import Counter, Gauge, Histogram

_LANE = ("service", "pipeline")
_BATCH_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

EVENTS_IN = Counter("headrace_events_in", "Records taken in.", ("service",))
EVENTS_OUT = Counter(
    "headrace_events_out", "Records written, ledger and changelog excluded.", ("service", "topic")
)
REJECTED = Counter("headrace_rejected", "Records refused with a receipt.", _LANE)
TRANSACTIONS = Counter("headrace_transactions", "Transactions committed.", ("service",))
ABORTS = Counter("headrace_aborts", "Transactions aborted and done again.", ("service",))
BATCH_SECONDS = Histogram(
    "headrace_batch_seconds",
    "Seconds from the first record of a transaction to its commit.",
    ("service",),
    buckets=_BATCH_SECONDS,
)
OPEN_TICK = Gauge("headrace_open_tick", "The tick a lane is working on.", (*_LANE, "partition"))
LAG_TICKS = Gauge(
    "headrace_lag_ticks", "Ticks the clock has issued that a lane has not closed.", (*_LANE, "partition")
)
LANE_STOPPED = Gauge(
    "headrace_lane_stopped", "1 while a lane stands still because its handler fails.", (*_LANE, "partition")
)
HEALTHY = Gauge("headrace_healthy", "1 when the service is healthy, else 0.", ("service",))
