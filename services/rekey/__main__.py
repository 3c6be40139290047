"""Run re-key: ``python -m services.rekey``."""

from headrace.bus.run import run
from services.rekey.service import SERVICE

if __name__ == "__main__":
    run(SERVICE)
