"""The manifest of the clock: it closes no tick, since it makes them."""

from headrace.bus.observer import Observer
from services.clock.handler import Clock


def observer() -> Observer:
    """Return the clock of all pipelines."""
    return Clock()
