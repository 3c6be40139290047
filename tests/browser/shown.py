"""The console over what the real services say in memory; ``python tests/browser/shown.py PORT`` serves it for eyes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "flows"))

import uvicorn
from coins import HOUR, hours, pipeline

from headrace.bus.engine import decode_plain
from headrace.bus.observer import Said
from headrace.contracts.topics import (
    COMMANDS,
    DRIFT,
    RECEIPTS,
    REGISTRY_EFFECTS,
    REGISTRY_RESULTS,
    RETRAIN,
    TRAINING_EFFECTS,
    TRAINING_RESULTS,
)
from headrace.telemetry.overview import CONTROLS, STREAMS, Overview
from headrace.testing.loop import MemoryLoop
from headrace.testing.reading import HeldLog
from services.clock.handler import Clock
from services.console.api import console
from services.console.handler import FLOW
from services.console.service import last_answers
from services.deployment.service import SERVICE as DEPLOYMENT
from services.features.service import SERVICE as FEATURES
from services.ingestion.service import SERVICE as INGESTION
from services.monitoring.service import SERVICE as MONITORING
from services.registry.service import SERVICE as REGISTRY
from services.serving.service import SERVICE as SERVING
from services.training.effects import Trainer
from services.training.service import SERVICE as TRAINING

SERVICES = (INGESTION, FEATURES, SERVING, MONITORING, TRAINING, REGISTRY, DEPLOYMENT)
APPENDED = 1_700_000_000_000  # ms: when tick 0 would have been appended; the others, a tenth of a second each
STEEP = {
    "name": "steep", "record": "Toss", "column": "bias", "kind": "range", "maximum": 2.9, "severity": "quarantine",
}  # fmt: skip
DRIFTED = {
    "signal_id": "d1", "pipeline": "coins", "tick": 12, "time": 9 * HOUR, "detector": "shift", "feature": "bias",
    "slice": "", "level": "alarm", "e_value": 41.0, "threshold": 40.0, "first_block": 7 * HOUR, "effect": 0.31,
    "detail": "",
}  # fmt: skip
ASKED = {
    "request_id": "r1", "pipeline": "coins", "tick": -1, "time": 0, "trigger": "operator", "reason": "a new supplier",
    "requested_by": "ada",
}  # fmt: skip
BACK = {
    "command_id": "c1", "pipeline": "coins", "tick": -1, "by": "ada", "why": "<b>worse</b> on Mondays", "to_version": 1
}  # fmt: skip


def played() -> MemoryLoop:
    """Return a loop that refused, quarantined, learnt, promoted twice, heard of drift and was rolled back."""
    trainer = Trainer()
    effects = {
        TRAINING_EFFECTS: (TRAINING_RESULTS, {"fit": trainer.fit, "learn": trainer.learn}),
        REGISTRY_EFFECTS: (
            REGISTRY_RESULTS,
            dict.fromkeys(("record-version", "move-alias"), lambda *_: {}),
        ),
    }
    loop = MemoryLoop(pipeline(rules=[STEEP]), SERVICES, Clock(), effects)
    for number, events in enumerate(hours(9)):
        if number == 6:
            loop.say(Said(DRIFT, "DriftDetected", DRIFTED))
            loop.say(Said(RETRAIN, "RetrainRequested", ASKED))
        loop.publish((number + 1) * HOUR, [*events, ("!", {"bytes": b"no toss"})])
    loop.say(Said(COMMANDS, "RollbackRequested", BACK))
    loop.run()
    return loop


def appended(record, fields):
    """Return when a record would have been appended: an operator's, before the last tick but two."""
    tick = fields["n"] if record == "Tick" else fields["tick"]
    return APPENDED + 100 * (tick if tick >= 0 else 21 if "command_id" in fields else 0)


class Held:
    """The console's source over a loop's log."""

    def __init__(self, loop: MemoryLoop, now: int = APPENDED + 2_400) -> None:
        self._loop, self._now, self.overview = loop, now, Overview()
        for topic in (*CONTROLS, *STREAMS, RECEIPTS):
            held = loop.log.partitions[topic.name("coins"), 0]
            for _, record, fields in decode_plain(held, loop.registry):
                self.overview.take(record, {"pipeline": "coins", **fields}, appended(record, fields))

    def report(self):
        return self.overview.report(self._now)

    def decisions(self, name):
        return sorted(self.overview.pipelines[name].decisions, key=lambda d: d.appended)

    def events(self, name, limit):
        return last_answers(HeldLog(self._loop.log), self._loop.registry, name, limit)

    def healthy(self):
        return {name: name != "drift" for name in FLOW}


if __name__ == "__main__":
    uvicorn.run(console(Held(played())), host="127.0.0.1", port=int(sys.argv[1]), access_log=False)
