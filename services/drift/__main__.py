"""Run drift: ``python -m services.drift``."""

from threading import Thread

from headrace.bus.faustrun import run_faust
from headrace.models.adwin import last_cut
from services.drift.service import SERVICE
from services.drift.settings import DriftSettings

if __name__ == "__main__":
    Thread(
        target=last_cut, args=([0.0],), daemon=True
    ).start()  # river takes a second to import; no tick waits for it
    run_faust(SERVICE, patience=DriftSettings().patience)
