"""Two things that went wrong with labels, planted in the flights at their publisher."""

from typing import Literal, get_args

import polars as pl
import pyarrow as pa

Name = Literal["labels-zero", "units"]
NAMES: tuple[Name, ...] = get_args(Name)
DAY = 86_400_000_000
SINCE = 1_372_654_800_000_000
"""1 July 2013 in New York, at the pipeline's day: 05:00 UTC."""
_LANDED = pl.col("landed_at").dt.epoch("us")
_PLANTED = {
    "labels-zero": ("EWR", 10, pl.lit(0.0)),
    "units": ("JFK", 7, pl.col("arr_delay") * 60),
}


def plant(name: Name, arrivals: pa.Table) -> pa.Table:
    """Return the arrivals as a broken publisher sends them.

    ``labels-zero``: those from Newark tell a delay of 0 from 1 to 10 July; ``units``: those from Kennedy tell seconds
    for the first week of July.
    """
    origin, days, delay = _PLANTED[name]
    within = (pl.col("origin") == origin) & _LANDED.is_between(SINCE, SINCE + days * DAY, closed="left")
    told = pl.when(within).then(delay).otherwise("arr_delay").alias("arr_delay")
    table = pl.DataFrame(arrivals).with_columns(told).to_arrow()
    return table.cast(arrivals.schema)


def until(name: Name) -> int:
    """Return the first instant after an incident, microseconds since 1970 UTC."""
    return SINCE + _PLANTED[name][1] * DAY
