"""Run audit: ``python -m services.audit``."""

from headrace.bus.run import run_observer
from headrace.local.settings import Settings
from headrace.telemetry.logs import last_words
from services.audit.service import observer

if __name__ == "__main__":
    with last_words():
        run_observer("audit", observer(Settings()), wait=0.5)
