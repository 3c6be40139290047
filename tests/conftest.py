"""Settings of all tests."""

from hypothesis import settings

# How long an example takes depends on the machine: no test asserts a time.
settings.register_profile("headrace", deadline=None)
settings.load_profile("headrace")
