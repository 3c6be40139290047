"""One run of one row: a fresh broker, the events in it, the row's processes, the watch and the check."""

import io
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import numpy as np

from bench.job import events
from bench.oracle import check
from bench.rows import Row
from bench.stage import Stage, service, stage
from headrace.bus.reading import KafkaLog, Span, Stamped
from headrace.contracts import catalogue
from headrace.errors import HeadraceError

WARM = 0.1  # share of a topic's records before the watch starts: imports, compilation, first fetches
STILL, PATIENCE, PAUSE = 4.0, 240.0, 0.5
PREDICTION = fastavro.parse_schema(catalogue.schema("Prediction"))
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


def run(row: Row, count: int) -> Run:
    """Run a row once on ``count`` events; raise HeadraceError when a process ends or nothing comes out."""
    made = events(count)
    with stage() as ready:
        wanted = ready.expected(made)
        if row.peer:
            ready.publish(made)
            _work(ready, row, len(wanted.scores))
        else:
            with ready.running(service("clock")):
                ready.wait_for_tick()
                ready.publish(made)
                _work(ready, row, len(wanted.scores))
        with KafkaLog(ready.settings.bootstrap) as log:
            answers = whole(log, row.answers)
            first = answers if row.first == row.answers else whole(log, row.first)
            refusals = whole(log, row.refusals)
    verdict = check(wanted, scored(answers, peer=row.peer), refused(refusals, peer=row.peer))
    return Run(count, rate(first, answers, count), verdict.lost, verdict.duplicated, verdict.wrong)


def _work(ready: Stage, row: Row, answers: int) -> None:
    """Run the row's processes until all answers are written, or none is for a while."""
    topics = [row.answers, row.refusals]
    with ready.running(*row.commands, peer=row.peer) as processes:
        end, moved, before = time.monotonic() + PATIENCE, time.monotonic(), 0
        while time.monotonic() < end:
            time.sleep(PAUSE)
            dead = [p for p in processes if p.poll() is not None]
            if dead:
                raise HeadraceError(f"{row.name}: a process ended with {dead[0].returncode}", ready.said())
            now = ready.ends(topics)
            if now != before:
                before, moved = now, time.monotonic()
            elif (now >= answers and time.monotonic() > moved + STILL) or (
                now and time.monotonic() > moved + 5 * STILL
            ):
                return
        if not before:
            raise HeadraceError(f"{row.name}: nothing came out in {PATIENCE:g} s", ready.said())


def whole(log: KafkaLog, topic: str) -> list[Stamped]:
    """Return every committed record of a topic."""
    return list(log.read([Span(topic, p) for p in log.ends(topic)]))


def rate(first: Iterable[Stamped], last: Iterable[Stamped], count: int) -> float:
    """Return events a second between two append times, warm-up left out.

    The watch starts when a tenth of the first output topic is there and stops at the last answer; with a pipe of
    several processes the first topic is the first one's, so that a head start counts against the row.
    """
    begin = np.sort([r.appended for r in first])
    end = np.sort([r.appended for r in last])
    if len(begin) < 2 or len(end) < 2:  # noqa: PLR2004
        return 0.0
    start = begin[int(WARM * len(begin))]
    share = np.mean(begin > start)
    return float(count * share / max((end[-1] - start) / 1_000, 0.001))


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
