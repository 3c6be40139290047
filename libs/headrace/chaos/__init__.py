"""Trouble on purpose: services and the broker are killed by a seeded schedule, and an oracle counts what came of it."""
