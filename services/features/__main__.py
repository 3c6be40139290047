"""Run features: ``python -m services.features``."""

from headrace.bus.run import run
from services.features.service import SERVICE

if __name__ == "__main__":
    run(SERVICE)
