"""Run the clock: ``python -m services.clock``."""

from headrace.bus.run import run_observer
from services.clock.service import observer

if __name__ == "__main__":
    run_observer("clock", observer(), wait=0.2)
