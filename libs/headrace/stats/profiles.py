"""Mergeable exact counts: what a batch looked like, in integers, so that any cut and any order gives the same profile.

Numbers fall into signed log-linear buckets (eight to an octave, at most 12.5 % wide), as in HdrHistogram and in the
interpolated mapping of DDSketch (Masson, Rim, Lee 2019, section 4): edges depend on no data, and the first
bits of a float tell its bucket. Categories with too many values are a bottom-k sample by hash (Beyer et al. 2007) with exact counts:
a value among the k smallest hashes of the whole is among them in every part, so merging loses nothing that is kept.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from itertools import repeat
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

Kind = Literal["number", "category"]
Counts = dict[str, int]
Places = NDArray[np.uint16]
Values = NDArray[Any] | Sequence[float | None] | Sequence[str | None]

PARTS = 8  # buckets to an octave
TINY = -30  # numbers below 2**TINY in size share the bucket of zero
DISTINCT = 200  # categories kept by name in one profile
OTHER = "~other"
SCORE_BINS = 20
CALIBRATION_BINS = 10
MILLION = 1_000_000
_LAST = np.uint64(48)  # where the last of a float's first 16 bits is, and those of them that tell its bucket
_TOLD = np.uint16(0x10000 - 16 // PARTS)
_SIGN = np.uint16(0x8000)


class FeatureProfile(TypedDict):
    """One feature: ``count`` rows, of which ``nulls`` are null and the rest lie in ``buckets``."""

    name: str
    kind: str
    count: int
    nulls: int
    buckets: Counts


class CalibrationBin(TypedDict):
    """Predictions of one tenth of [0, 1]: how many, their sum in millionths, and how many came true."""

    count: int
    predicted_sum: int
    positives: int


class Quality(TypedDict):
    """Matured labels: how many, the sum of their losses in micro-nats, and ten calibration bins (or none)."""

    count: int
    loss_sum: int
    calibration: list[CalibrationBin]


class Profile(TypedDict):
    """The counted part of a ``Profile`` record; features are sorted by name."""

    features: list[FeatureProfile]
    scores: Counts
    quality: Quality | None


def buckets(values: Values, kind: Kind) -> Counts:
    """Return the counts of ``values`` by bucket, without nulls (None, NaN or infinite), in the order of :func:`ordered`."""
    return _number_counts(_floats(values)) if kind == "number" else _category_counts(values)


def ordered(counts: Mapping[str, int], kind: Kind) -> Counts:
    """Return ``counts`` sorted by the bucket's value: numbers by their edge, categories as text."""
    return {key: counts[key] for key in sorted(counts, key=float if kind == "number" else None)}


def feature(name: str, kind: Kind, values: Values) -> FeatureProfile:
    """Return the profile of one feature of a batch; ``values`` has one entry a row."""
    return _feature(name, kind, len(values), buckets(values, kind))


def numbers(names: Sequence[str], values: Sequence[NDArray[Any]]) -> list[FeatureProfile]:
    """Return the profiles of several features of numbers, each an array with one entry a row.

    They are counted together: for a few rows, each call of numpy costs more than what it does.
    """
    found = _numbers_counts(np.stack([_floats(column) for column in values])) if values else []
    return [_feature(*parts) for parts in zip(names, repeat("number"), map(len, values), found, strict=False)]


def scores(values: ArrayLike, *, probability: bool = True) -> Counts:
    """Return counts of probabilities by twentieths, keyed by the lower edge, or of plain numbers by bucket."""
    if not probability:
        return _number_counts(_floats(values))
    places = np.clip((_floats(values) * SCORE_BINS).astype(np.int64), 0, SCORE_BINS - 1)
    counts = np.bincount(places, minlength=SCORE_BINS).tolist()
    return {f"{place / SCORE_BINS:.2f}": n for place, n in enumerate(counts) if n}


def quality(losses: ArrayLike, predicted: ArrayLike = (), happened: ArrayLike = ()) -> Quality:
    """Return the quality of labelled rows: losses in nats, and for classes the predicted probability and what happened.

    Each loss and probability is rounded to a millionth before it is added, so sums are exact. A regression gives no
    ``predicted`` and gets no calibration bins. Raises ``ValueError`` for a loss that is not finite.
    """
    if not np.isfinite(_floats(losses)).all():
        raise ValueError("a loss is not finite")
    micro = np.rint(_floats(losses) * MILLION).astype(np.int64)
    bins = _calibration(_floats(predicted), np.asarray(happened, dtype=bool)) if np.size(predicted) else []
    return Quality(count=len(micro), loss_sum=int(micro.sum()), calibration=bins)


def profile(features: Iterable[FeatureProfile], seen: Counts, labelled: Quality | None = None) -> Profile:
    """Return a batch's profile from its parts."""
    return Profile(features=sorted(features, key=lambda f: f["name"]), scores=seen, quality=labelled)


def merge(*parts: Profile) -> Profile:
    """Return the profile of all batches: exact, commutative and associative; raise ``ValueError`` on unlike kinds."""
    named: dict[str, list[FeatureProfile]] = {}
    for part in parts:
        for one in part["features"]:
            named.setdefault(one["name"], []).append(one)
    seen = ordered(_sum(part["scores"] for part in parts), "number")
    return profile(
        map(_merge_features, named.values()),
        seen,
        reduce(_merge_quality, (p["quality"] for p in parts), None),
    )


def _feature(name: str, kind: str, rows: int, counts: Counts) -> FeatureProfile:
    return FeatureProfile(name=name, kind=kind, count=rows, nulls=rows - sum(counts.values()), buckets=counts)


def _floats(values: Any) -> NDArray[np.float64]:
    return np.atleast_1d(np.asarray(values, dtype=np.float64))


def _number_counts(values: NDArray[np.float64]) -> Counts:
    return _numbers_counts(values[None])[0]


def _numbers_counts(values: NDArray[np.float64]) -> list[Counts]:
    """Return the counts of each row of a matrix by bucket, without what is not finite."""
    places = np.sort(_places(values), axis=1, kind="stable")  # a radix sort, for 16 bits
    first = np.ones(places.shape, bool)
    first[:, 1:] = places[:, 1:] != places[:, :-1]
    begins = np.flatnonzero(first)
    edges = _edges(places.ravel()[begins]).tolist()
    found: list[Counts] = [{} for _ in values]
    rows, sizes = (begins // values.shape[1]).tolist(), np.diff(begins, append=places.size).tolist()
    for row, edge, size in zip(rows, edges, sizes, strict=True):
        if edge != np.inf:
            found[row][repr(edge)] = size
    return found


def _places(values: NDArray[np.float64]) -> Places:
    """Return the number of each value's bucket, in the order of the buckets; the last one for what is not finite.

    A bucket's numbers begin with the same bits; tiny ones are in that of zero. A negative number's bits are turned over.
    """
    kept = np.where(np.isfinite(values), values, np.inf)
    kept[np.abs(kept) < 2.0**TINY] = 0.0
    bits = (kept.view(np.uint64) >> _LAST).astype(np.uint16) & _TOLD
    return np.where(bits < _SIGN, bits | _SIGN, ~bits)


def _edges(places: Places) -> NDArray[np.float64]:
    """Return the edge nearest to zero of buckets."""
    bits = np.where(places < _SIGN, ~places, places ^ _SIGN)
    return (bits.astype(np.uint64) << _LAST).view(np.float64)


def _category_counts(values: Any) -> Counts:
    counts = Counter(_escaped(value) for value in values if value is not None and value == value)  # noqa: PLR0124 - NaN
    return _kept(counts)


def _escaped(value: object) -> str:
    """Return the category's text; a tilde in front is doubled, so no value can pass for ``OTHER``."""
    text = str(value)
    return f"~{text}" if text.startswith("~") else text


def _kept(counts: Mapping[str, int]) -> Counts:
    """Return the ``DISTINCT`` values of smallest hash by name and the rest as ``OTHER``, sorted."""
    names = [name for name in counts if name != OTHER]
    if len(names) > DISTINCT:
        names = sorted(names, key=_hash)[:DISTINCT]
    kept = {name: counts[name] for name in names}
    if rest := sum(counts.values()) - sum(kept.values()):
        kept[OTHER] = rest
    return ordered(kept, "category")


def _hash(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8).digest()


def _calibration(predicted: NDArray[np.float64], happened: NDArray[np.bool_]) -> list[CalibrationBin]:
    place = np.clip((predicted * CALIBRATION_BINS).astype(np.int64), 0, CALIBRATION_BINS - 1)
    sums = np.zeros((3, CALIBRATION_BINS), dtype=np.int64)
    np.add.at(sums[0], place, 1)
    np.add.at(sums[1], place, np.rint(predicted * MILLION).astype(np.int64))
    np.add.at(sums[2], place, happened.astype(np.int64))
    return [CalibrationBin(count=int(n), predicted_sum=int(p), positives=int(y)) for n, p, y in sums.T]


def _sum(parts: Iterable[Mapping[str, int]]) -> Counts:
    found: Counts = {}
    for part in parts:
        for key, count in part.items():
            found[key] = found.get(key, 0) + count
    return found


def _merge_features(parts: Sequence[FeatureProfile]) -> FeatureProfile:
    if len(parts) == 1:
        return parts[0]
    name, kind = parts[0]["name"], parts[0]["kind"]
    if other := {part["kind"] for part in parts} - {kind}:
        raise ValueError(f"feature {name} is a {kind} in one profile and a {other.pop()} in another")
    summed = _sum(part["buckets"] for part in parts)
    return FeatureProfile(
        name=name,
        kind=kind,
        count=sum(part["count"] for part in parts),
        nulls=sum(part["nulls"] for part in parts),
        buckets=ordered(summed, "number") if kind == "number" else _kept(summed),
    )


def _merge_quality(left: Quality | None, right: Quality | None) -> Quality | None:
    if left is None or right is None:
        return left or right
    return Quality(
        count=left["count"] + right["count"],
        loss_sum=left["loss_sum"] + right["loss_sum"],
        calibration=_merge_bins(left["calibration"], right["calibration"]),
    )


def _merge_bins(left: list[CalibrationBin], right: list[CalibrationBin]) -> list[CalibrationBin]:
    if not left or not right:
        return left or right
    return [
        CalibrationBin(
            count=a["count"] + b["count"],
            predicted_sum=a["predicted_sum"] + b["predicted_sum"],
            positives=a["positives"] + b["positives"],
        )
        for a, b in zip(left, right, strict=True)
    ]
