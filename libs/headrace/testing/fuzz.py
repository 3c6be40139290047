"""Damaged records by the million, decoded in one process and judged in another, under a watchdog.

The records of chunk ``n`` are a function of the seed and ``n``, so both sides make them for themselves and only
digests travel. A side that dies or stays silent is replaced, and its chunk is halved until the record is found.
"""

import multiprocessing
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from multiprocessing.connection import Connection
from typing import Any, Protocol

import psutil

from headrace.contracts.codec import Codec
from headrace.contracts.decoded import Decoded
from headrace.contracts.plain import PlainCodec
from headrace.testing.damage import Seed, answers, mutate, seeds

CHUNK = 1_000
DIGEST = 8
SEED = 20130101
SHOWN = 20
MEBIBYTE = 1 << 20
START_SECONDS = 300.0
Span = tuple[int, int, int]
"""A chunk's number, and the first and the last record of it that are meant (half open)."""


class Decoder(Protocol):
    """What is fuzzed: a decoder of one schema."""

    def decode(self, bodies: Sequence[bytes]) -> Decoded:
        """Return columns and errors."""


Build = Callable[[Mapping[str, Any]], Decoder]


@dataclass(frozen=True)
class Finding:
    """A record that was not answered as it should be; ``body`` is hex."""

    kind: str
    schema: str
    body: str


@dataclass
class Report:
    """What ``headrace fuzz --json`` writes; memory is the decoder's resident set above that of its first round."""

    records: int = 0
    crashes: int = 0
    hangs: int = 0
    disagreements: int = 0
    rss_growth_mb: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Tell whether every record got the right answer in time."""
        return not (self.crashes or self.hangs or self.disagreements)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON takes it, with the first findings."""
        return {**asdict(self), "findings": [asdict(f) for f in self.findings[:SHOWN]]}


class SilentError(Exception):
    """A side died (``crash``) or did not answer in time (``hang``)."""


class Side:
    """A process that answers for spans of records; it is started again after it was lost."""

    def __init__(self, build: Build, seed: int, patience: float) -> None:
        """Start it; ``patience`` is the seconds it may take for a span."""
        self._build, self._seed, self._patience = build, seed, patience
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        self._process = context.Process(target=_serve, args=(far, self._build, self._seed), daemon=True)
        self._process.start()
        far.close()
        if not self._pipe.poll(START_SECONDS):
            raise TimeoutError("a fuzzing process did not start")
        self._pipe.recv()

    def ask(self, span: Span) -> None:
        """Give it a span of records to decode."""
        self._pipe.send(span)

    def told(self) -> bytes:
        """Return a digest for each record of the span; raise ``SilentError`` when the side was lost, and renew it."""
        try:
            if self._pipe.poll(self._patience):
                found: bytes = self._pipe.recv()
                return found
            kind = "hang"
        except (EOFError, ConnectionResetError):
            kind = "crash"
        self.close()
        self._start()
        raise SilentError(kind)

    def resident(self) -> int:
        """Return the bytes of memory it holds."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def fuzz(
    records: int,
    tell: Callable[[float], None] = lambda _: None,
    *,
    seed: int = SEED,
    patience: float = 60.0,
    decoder: Build = Codec,
) -> Report:
    """Decode ``records`` damaged records and return what was found; ``tell`` takes the share that is done."""
    pool, report, start = list(seeds()), Report(), 0
    with (
        closing(Side(decoder, seed, patience)) as tested,
        closing(Side(PlainCodec, seed, patience)) as oracle,
    ):
        for number in range(-(-records // CHUNK)):
            span = (number, 0, min(CHUNK, records - number * CHUNK))
            for kind, at in _compare(span, tested, oracle):
                _note(report, kind, at, pool, seed)
            report.records += span[2]
            # Memory is at its working size when every schema had two turns.
            if number < 2 * len(pool):
                start = max(start, tested.resident())
            growth = max(0, tested.resident() - start) / MEBIBYTE
            report.rss_growth_mb = round(max(report.rss_growth_mb, growth), 1)
            tell(report.records / records)
    return report


def _compare(span: Span, tested: Side, oracle: Side) -> list[tuple[str, Span]]:
    number, first, last = span
    tested.ask(span)
    oracle.ask(span)
    right = oracle.told()
    try:
        found = tested.told()
    except SilentError as lost:
        if last - first == 1:
            return [(str(lost), span)]
        middle = (first + last) // 2
        halves = [(number, first, middle), (number, middle, last)]
        return [f for half in halves for f in _compare(half, tested, oracle)] or [(str(lost), span)]
    wrong = [n for n in range(last - first) if _at(found, n) != _at(right, n)]
    return [("disagreement", (number, first + n, first + n + 1)) for n in wrong]


def _at(digests: bytes, n: int) -> bytes:
    return digests[n * DIGEST : (n + 1) * DIGEST]


def _note(report: Report, kind: str, span: Span, pool: Sequence[Seed], seed: int) -> None:
    counted = {"crash": "crashes", "hang": "hangs", "disagreement": "disagreements"}[kind]
    setattr(report, counted, getattr(report, counted) + 1)
    number, first, _ = span
    if len(report.findings) < SHOWN:
        name = pool[number % len(pool)][0]["name"]
        report.findings.append(Finding(kind, name, _bodies(pool, seed, number)[first].hex()))


def _bodies(pool: Sequence[Seed], seed: int, number: int) -> list[bytes]:
    chance = random.Random(f"{seed}/{number}")  # noqa: S311 - reproducible damage, not secrecy
    body = pool[number % len(pool)][1]
    return [mutate(chance, body, chance.choice(pool)[1]) for _ in range(CHUNK)]


def _serve(pipe: Connection, build: Build, seed: int) -> None:
    # Damage can repeat a map's key, which Avro allows.
    warnings.filterwarnings("ignore", message="Encountered key")
    pool = list(seeds())
    decoders = [build(schema) for schema, _ in pool]
    for decoder, (_, body) in zip(decoders, pool, strict=True):
        decoder.decode([body])
    pipe.send(b"ready")
    while True:
        try:
            number, first, last = pipe.recv()
        except EOFError:
            return
        bodies = _bodies(pool, seed, number)[first:last]
        decoded = decoders[number % len(pool)].decode(bodies)
        decoded.columns.validate(full=True)
        told = (
            blake2b(a.encode(errors="surrogatepass"), digest_size=DIGEST).digest()
            for a in answers(decoded, len(bodies))
        )
        pipe.send(b"".join(told))
