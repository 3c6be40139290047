"""Drift: what the stream looks like, day after day, and whether that has changed."""
