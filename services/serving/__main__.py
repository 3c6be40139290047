"""Run serving: ``python -m services.serving``."""

from headrace.bus.run import run
from services.serving.service import SERVICE

if __name__ == "__main__":
    run(SERVICE)
