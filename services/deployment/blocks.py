"""Outcomes of the pair in shadow, summed by block of event time, and by block and slice of their labels."""

import numpy as np
import numpy.typing as npt
import polars as pl

from headrace.bus.service import Batch, Row, Rows, Step
from headrace.pipeline.definition import Definition
from headrace.pipeline.quarantine import Quarantine
from headrace.pipeline.schemas import MARK
from services.deployment.state import Rollout, load

Times = npt.NDArray[np.int64]
_READ = [
    "event_time",
    "status",
    "model_digest",
    "challenger_digest",
    "loss",
    "challenger_loss",
    "slice",
    "labelled_at",
    MARK,
]


def block_start(times: Times | int, view: Definition) -> Times | int:
    """Return where the block of an instant begins; blocks are cut where the pipeline's clock cuts its days."""
    offset, length = view.clock.offset, view.rollout.block
    return (times - offset) // length * length + offset


def collect(batch: Batch, rows: Rows, view: Definition) -> Step:
    """Add both losses of each answered pair to its block.

    Every outcome is absorbed. An answer that comes after its block was judged is left out (measured on flights:
    92.7 % come on the day), and so is one about another pair than the one in shadow.
    """
    rollout = load(rows).rollout
    if rollout is not None:
        _add(_pairs(batch, rollout), rows, view)
    return Step(absorbed=np.arange(len(batch)))


def _pairs(batch: Batch, rollout: Rollout) -> pl.DataFrame:
    outcomes = pl.DataFrame(batch.records["Outcome"].columns.select(_READ))
    return outcomes.filter(
        pl.col("status") == "labelled",
        pl.col(MARK).is_null(),
        pl.col("model_digest") == rollout.champion.digest,
        pl.col("challenger_digest") == rollout.challenger.digest,
        pl.col("event_time").dt.epoch("us") >= rollout.since,
        pl.col("loss").is_not_null(),
        pl.col("challenger_loss").is_not_null(),
    ).with_columns(pl.col("slice").fill_null(""), pl.col("labelled_at").fill_null(pl.col("event_time")))


def sums(rows: Rows, quarantine: Quarantine, view: Definition) -> dict[int, tuple[int, float, float]]:
    """Return block begin to (pairs, champion's loss, challenger's loss), without what is in quarantine."""
    found: dict[int, tuple[int, float, float]] = {}
    for key, (count, champion, challenger) in rows["blocks"].all():
        start, labelled, name = key.split("|", 2)
        if not _suspect(int(start), int(labelled), name, quarantine, view):
            held = found.get(int(start), (0, 0.0, 0.0))
            found[int(start)] = (held[0] + count, held[1] + champion, held[2] + challenger)
    return dict(sorted(found.items()))


def _suspect(start: int, labelled: int, name: str, quarantine: Quarantine, view: Definition) -> bool:
    """Tell whether a slice's labels of a block, or the events they answer, are quarantined in part."""
    if not quarantine.held:
        return False
    answered = labelled + view.label.contract.block
    return (
        quarantine.covers(name, labelled)
        or quarantine.touches(view.label.record, labelled, answered)
        or quarantine.touches(view.event, start, start + view.rollout.block)
    )


def _add(pairs: pl.DataFrame, rows: Rows, view: Definition) -> None:
    """Fold losses into the blocks in the order of the log, so that no cut of the batch shows in a sum."""
    starts = block_start(pairs["event_time"].dt.epoch("us").to_numpy(), view)
    length, offset = view.label.contract.block, view.clock.offset
    labelled = (pairs["labelled_at"].dt.epoch("us").to_numpy() - offset) // length * length + offset
    named = [
        f"{start:020d}|{at}|{name}"
        for start, at, name in zip(
            np.atleast_1d(starts).tolist(), labelled.tolist(), pairs["slice"].to_list(), strict=True
        )
    ]
    names, at = np.unique(np.array(named, dtype=np.str_), return_inverse=True)
    keys = names.tolist()
    held = [row or (0, 0.0, 0.0) for row in rows["blocks"].get(keys)]
    counts = np.bincount(at, minlength=len(keys)) + [row[0] for row in held]
    champion, challenger = (np.array([row[n] for row in held], np.float64) for n in (1, 2))
    np.add.at(champion, at, pairs["loss"].to_numpy())
    np.add.at(challenger, at, pairs["challenger_loss"].to_numpy())
    changed: list[Row] = list(zip(counts.tolist(), champion.tolist(), challenger.tolist(), strict=True))
    rows["blocks"].put(keys, changed)
