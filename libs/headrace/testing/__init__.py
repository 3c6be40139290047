"""Drivers and fixtures for tests: the loop in memory, a real broker."""
