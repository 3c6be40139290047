"""One run of one row: a fresh broker, the events in it, the row's processes, the watch and the check."""

import io
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import psutil

from bench.job import PARTITIONS, Events, events
from bench.oracle import check
from bench.rows import Row
from bench.stage import Stage, stage
from headrace.bus.reading import KafkaLog, Span, Stamped
from headrace.contracts import catalogue
from headrace.errors import HeadraceError
from headrace.pipeline.schemas import MARK

WARM = 3_000  # events that a row answers before the watch starts
PART, TAIL = 500_000, 100  # events published at once; offsets in which a partition's last record lies
WARM_STILL, STILL, PATIENCE, PAUSE = 1.5, 4.0, 240.0, 0.5
_FIELDS = [f for f in catalogue.schema("Prediction")["fields"] if f["name"] != MARK]
PREDICTION = fastavro.parse_schema({**catalogue.schema("Prediction"), "fields": _FIELDS})
RECEIPT = fastavro.parse_schema(catalogue.schema("Receipt"))
SCORE = fastavro.parse_schema(json.loads((Path(__file__).parent / "peers" / "Score.avsc").read_text()))


@dataclass(frozen=True)
class Run:
    """What one run showed."""

    events: int
    events_per_second: float
    lost: int
    duplicated: int
    wrong: int


@dataclass(frozen=True)
class Watch:
    """How long a row took until its last answer, and the seconds of CPU its processes spent."""

    seconds: float
    cpu: float


def run(row: Row, count: int, partitions: int = PARTITIONS) -> Run:
    """Run a row once on ``count`` events; raise HeadraceError when a process ends or nothing comes out.

    Every row starts warm: it answers a few more events first, then its processes stand still (SIGSTOP) while the
    ``count`` are published, and the watch starts as they go on. So imports and compilation count for nobody.
    """
    warm = min(WARM, count // 4)
    made = events(count + warm)
    with stage(partitions) as ready:
        wanted = ready.expected(made)
        watched = run_on(ready, row, made, warm)
        with KafkaLog(ready.settings.bootstrap) as log:
            answers, refusals = whole(log, row.answers), whole(log, row.refusals)
    verdict = check(wanted, scored(answers, peer=row.peer), refused(refusals, peer=row.peer))
    return Run(count, count / watched.seconds, verdict.lost, verdict.duplicated, verdict.wrong)


def run_on(ready: Stage, row: Row, made: Events, warm: int = 0) -> Watch:
    """Run a row on a stage until it has answered."""
    with nullcontext() if row.peer else ready.ticking():
        began, cpu = _work(ready, row, made, warm)
    with KafkaLog(ready.settings.bootstrap) as log:
        tails = [Span(row.answers, p, max(0, end - TAIL), end) for p, end in log.ends(row.answers).items()]
        ended = max((r.appended for r in log.read(tails)), default=0) / 1_000
    return Watch(max(ended - began, 0.001), cpu)


def _work(ready: Stage, row: Row, made: Events, warm: int) -> tuple[float, float]:
    """Run the row's processes until they are done; return when the watch began, and the CPU they took from there."""
    with ready.running(*row.commands, peer=row.peer) as processes:
        ready.publish(made.part(0, warm))
        rest(ready, row, processes, int(0.9 * warm), WARM_STILL)
        before = ready.ends([row.answers, row.refusals])
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        for start in range(warm, len(made.number), PART):
            ready.publish(made.part(start, min(start + PART, len(made.number))))
        began, spent = time.time(), [_cpu(processes)]
        for process in processes:
            process.send_signal(signal.SIGCONT)
        least = before + int(0.9 * (len(made.number) - warm))
        rest(ready, row, processes, least, STILL, lambda: spent.append(_cpu(processes)))
        return began, spent[-1] - spent[0]


def _cpu(processes: Sequence[subprocess.Popen[bytes]]) -> float:
    times = [psutil.Process(process.pid).cpu_times() for process in processes]
    return float(sum(t.user + t.system for t in times))


def rest(
    ready: Stage,
    row: Row,
    processes: Sequence[subprocess.Popen[bytes]],
    least: int,
    still: float,
    grown: Callable[[], None] = lambda: None,
) -> None:
    """Return when the row's topics hold at least so much and have not grown for ``still`` seconds.

    ``grown`` is called whenever they have. Raises HeadraceError when a process ends, or nothing comes out.
    """
    end, moved, before = time.monotonic() + PATIENCE, time.monotonic(), 0
    while time.monotonic() < end:
        time.sleep(PAUSE)
        dead = [p for p in processes if p.poll() is not None]
        if dead:
            raise HeadraceError(f"{row.name}: a process ended with {dead[0].returncode}", ready.said())
        now = ready.ends([row.answers, row.refusals])
        if now != before:
            before, moved = now, time.monotonic()
            grown()
        elif now >= least and time.monotonic() > moved + still:
            return
    raise HeadraceError(f"{row.name}: only {before:,} records came out in {PATIENCE:g} s", ready.said())


def whole(log: KafkaLog, topic: str) -> list[Stamped]:
    """Return every committed record of a topic."""
    return list(log.read([Span(topic, p) for p in log.ends(topic)]))


def scored(answers: Iterable[Stamped], *, peer: bool) -> list[tuple[str, float]]:
    """Return event ids with their probability of a failure, read by fastavro."""
    if peer:
        return [(r["event_id"], r["score"]) for r in _read(answers, SCORE)]
    return [(r["event_id"], r["scores"]["faulty"]) for r in _read(answers, PREDICTION)]


def refused(refusals: Iterable[Stamped], *, peer: bool) -> list[str]:
    """Return the ids of refused events; a peer's record has the id as its key."""
    if peer:
        return [(r.record.key or b"").decode() for r in refusals]
    return sorted({r["event_id"] for r in _read(refusals, RECEIPT)})


def _read(records: Iterable[Stamped], schema: Any) -> Iterable[dict[str, Any]]:
    for stamped in records:
        yield fastavro.schemaless_reader(io.BytesIO((stamped.record.value or b"")[5:]), schema, None)
