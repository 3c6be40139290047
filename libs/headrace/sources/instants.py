"""Times as people write them, to instants: what is ambiguous or has no zone is asked for, never guessed."""

import zoneinfo
from dataclasses import dataclass

import polars as pl

from headrace.errors import UsageError
from headrace.sources.columns import misfits

UTC = pl.Datetime("us", "UTC")
_CLOCK = r"(?:[T ](\d{1,2}:\d{2})(:\d{2}(?:\.\d+)?)?)?\s*(Z|UTC|[+-]\d{2}:?\d{2})?$"
_YEAR_FIRST = r"^(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})" + _CLOCK
_YEAR_LAST = r"^(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})" + _CLOCK
_PATTERNS = {
    "iso": (_YEAR_FIRST, ("year", "month", "day")),
    "day-first": (_YEAR_LAST, ("day", "month", "year")),
    "month-first": (_YEAR_LAST, ("month", "day", "year")),
}
_EPOCHS = {"epoch-s": 1_000_000, "epoch-ms": 1_000, "epoch-us": 1}
_FIRST_EPOCH, _LAST_EPOCH = 631_152_000, 4_102_444_800  # 1990 and 2100, in seconds


@dataclass(frozen=True, slots=True)
class Form:
    """How a column writes its times: a name of this module or a strptime format, and the zone of naive ones."""

    format: str
    tz: str | None = None


def infer(series: pl.Series, *, time_format: str | None = None, tz: str | None = None) -> Form:
    """Return how the column writes its times.

    Raises ``UsageError`` naming the flag when day and month could be swapped, when a time has no zone, or when
    values are no times.
    """
    formats = [time_format] if time_format else _candidates(series)
    fits = {f: values for f in formats if misfits(series, values := _local(series, f)["at"]).is_empty()}
    if not fits:
        raise _unread(series, formats)
    if len(fits) > 1 and len({tuple(values) for values in fits.values()}) > 1:
        sample = series.drop_nulls()[0]
        raise UsageError(
            f"column {series.name}: {sample!r} can be read day first or month first",
            "no value in the whole column decides it",
            f"--time-format {' or --time-format '.join(fits)}",
        )
    form = Form(next(iter(fits)), tz)
    parse(series, form)
    return form


def parse(series: pl.Series, form: Form) -> pl.Series:
    """Return the instants (microseconds, UTC); a local time that occurs twice is the earlier one.

    Raises ``UsageError`` for values that are no times, or local times without a zone.
    """
    local = _local(series, form.format)
    lost = misfits(series, local["at"])
    if not lost.is_empty():
        raise _unread(series, [form.format])
    naive = local.filter(pl.col("at").is_not_null() & pl.col("offset").is_null())
    if not naive.is_empty() and form.tz is None:
        raise UsageError(
            f"column {series.name}: its times have no zone",
            f"{series.drop_nulls()[0]!s} could be anywhere in the world",
            "--tz UTC, or the zone they were written in, such as --tz America/New_York",
        )
    found = local.select(
        pl.coalesce(pl.col("at").dt.replace_time_zone("UTC") - pl.col("offset"), _zoned(form.tz))
    )
    instants = found.to_series().cast(UTC).alias(series.name)
    if not misfits(series, instants).is_empty():
        raise UsageError(
            f"column {series.name}: {_shown(series, misfits(series, instants))} do not exist in {form.tz}"
        )
    return instants


def _zoned(tz: str | None) -> pl.Expr:
    if tz is None:
        return pl.lit(None, UTC)
    if tz not in zoneinfo.available_timezones():
        raise UsageError(
            f"there is no time zone {tz}", next_command="--tz UTC, or a name such as Europe/Berlin"
        )
    at = pl.col("at").dt.replace_time_zone(tz, ambiguous="earliest", non_existent="null")
    return at.dt.convert_time_zone("UTC")


def _candidates(series: pl.Series) -> list[str]:
    if series.dtype.is_temporal():
        return ["typed"]
    numbers = series.cast(pl.Int64, strict=False)
    if misfits(series, numbers).is_empty():
        return [name for name, unit in _EPOCHS.items() if _plausible(numbers, unit)]
    dotted = series.dtype == pl.String and series.str.contains(r"^\d{1,2}\.\d{1,2}\.\d{4}").any()
    return ["iso", "day-first"] if dotted else ["iso", "day-first", "month-first"]


def _plausible(numbers: pl.Series, unit: int) -> bool:
    seconds = numbers.drop_nulls() // (1_000_000 // unit)
    return bool(seconds.is_between(_FIRST_EPOCH, _LAST_EPOCH).all())


def _local(series: pl.Series, time_format: str) -> pl.DataFrame:
    """Return ``at`` (naive) and ``offset`` (a duration, null when the value says none) of each value."""
    frame = pl.DataFrame({"text": series})
    zero = pl.duration(hours=0)
    if time_format == "typed":
        aware = getattr(series.dtype, "time_zone", None) is not None
        at = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if aware else series
        return frame.select(
            at=at.cast(pl.Datetime("us")), offset=zero if aware else pl.lit(None, pl.Duration("us"))
        )
    if time_format in _EPOCHS:
        micros = pl.col("text").cast(pl.Int64, strict=False) * _EPOCHS[time_format]
        return frame.select(at=micros.cast(pl.Datetime("us")), offset=zero)
    text = frame.select(pl.col("text").cast(pl.String).str.strip_chars())
    return _by_pattern(text, time_format) if time_format in _PATTERNS else _by_format(text, time_format)


def _by_pattern(text: pl.DataFrame, name: str) -> pl.DataFrame:
    pattern, order = _PATTERNS[name]
    part = {
        key: pl.col("text").str.extract(pattern, n)
        for n, key in enumerate([*order, "clock", "seconds", "zone"], 1)
    }
    clock = pl.concat_str(part["clock"].fill_null("00:00"), part["seconds"].fill_null(":00"))
    date = pl.concat_str(part["year"], part["month"], part["day"], separator="-")
    at = pl.concat_str(date, clock, separator=" ").str.to_datetime(
        "%Y-%m-%d %H:%M:%S%.f", strict=False, time_unit="us"
    )
    return text.select(at=at, offset=_offset(part["zone"]))


def _offset(zone: pl.Expr) -> pl.Expr:
    sign = pl.when(zone.str.starts_with("-")).then(-1).otherwise(1)
    hours = zone.str.slice(1, 2).cast(pl.Int64, strict=False) * sign
    minutes = zone.str.slice(-2).cast(pl.Int64, strict=False) * sign
    named = pl.when(zone.is_in(["Z", "UTC"])).then(pl.duration(hours=0))
    return named.otherwise(pl.duration(hours=hours, minutes=minutes))


def _by_format(text: pl.DataFrame, time_format: str) -> pl.DataFrame:
    """Read by a strptime format; with a zone in it (%z) the result is aware."""
    aware = "%z" in time_format or "%:z" in time_format
    at = pl.col("text").str.to_datetime(time_format, strict=False, time_unit="us")
    bare = at.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if aware else at
    return text.select(at=bare, offset=pl.duration(hours=0) if aware else pl.lit(None, pl.Duration("us")))


def _unread(series: pl.Series, formats: list[str]) -> UsageError:
    best = min(
        (misfits(series, _local(series, f)["at"]) for f in formats),
        key=len,
        default=series.is_not_null().arg_true(),
    )
    return UsageError(
        f"column {series.name}: {len(best)} of {len(series)} values are no times",
        _shown(series, best),
        "--time-format with day-first, month-first, epoch-s, epoch-ms or a pattern such as '%d.%m.%y %H:%M'",
    )


def _shown(series: pl.Series, rows: pl.Series) -> str:
    return ", ".join(f"row {row + 1}: {series[row]!s}" for row in rows.head(3).to_list())
