"""Run training, with the worker that fits: ``python -m services.training``."""

import os

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # before numpy loads: a sum over threads depends on how many there are

from headrace.bus.run import run
from headrace.contracts.topics import TRAINING_EFFECTS, TRAINING_RESULTS
from services.training.effects import CARRY_OUT, warm
from services.training.service import SERVICE

if __name__ == "__main__":
    warm()
    run(SERVICE, effects=(TRAINING_EFFECTS, TRAINING_RESULTS, CARRY_OUT))
