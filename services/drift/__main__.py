"""Run drift: ``python -m services.drift``."""

from headrace.bus.faustrun import run_faust
from services.drift.service import SERVICE
from services.drift.settings import DriftSettings

if __name__ == "__main__":
    run_faust(SERVICE, patience=DriftSettings().patience)
