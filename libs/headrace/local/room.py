"""What events take on the disk of the platform's own Kafka."""

from collections.abc import Mapping
from pathlib import Path

BLOCK = 512  # the unit of st_blocks (POSIX stat); Kafka's index files are sparse, so their sizes say nothing
MEGABYTE = 1_000_000
MILLION = 1_000_000


def per_million(folder: Path, events: Mapping[str, int]) -> dict[str, float]:
    """Return, by pipeline, the megabytes that a million raw events take in all its topics under a data folder."""
    return {
        pipeline: taken(folder, pipeline) / MEGABYTE / count * MILLION
        for pipeline, count in sorted(events.items())
        if count
    }


def taken(folder: Path, pipeline: str) -> int:
    """Return the bytes on disk of a pipeline's topics."""
    return sum(
        file.stat().st_blocks * BLOCK
        for partition in folder.glob(f"{pipeline}.*-*")
        for file in partition.iterdir()
    )
