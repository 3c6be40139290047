"""The clock: ticks, and rest."""
