"""An incident in the log in memory: the services, clock and effects of the demo without its broker, minutes faster.

    PYTHONPATH=libs:. python -m bench.incidents labels-zero|units|none [--until 2013-08-12] [--json FILE]

``none`` leaves the labels as they are and tells the same stretches. Figures are those of ``headrace demo --incident``.
"""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headrace.bus.effects import Work
from headrace.bus.observer import Said
from headrace.contracts.topics import (
    EVENTS,
    REGISTRY_EFFECTS,
    REGISTRY_RESULTS,
    STEPS,
    TRAINING_EFFECTS,
    TRAINING_RESULTS,
)
from headrace.demo.incident import Held, figures
from headrace.local.settings import Settings
from headrace.pipeline.definition import Definition
from headrace.sources import flights, incidents
from headrace.sources.pipelines import find
from headrace.sources.source import steps
from headrace.sources.wire import Wire
from headrace.testing.loop import MemoryLoop
from services.clock.handler import Clock
from services.deployment.service import SERVICE as DEPLOYMENT
from services.drift.service import SERVICE as DRIFT
from services.features.service import SERVICE as FEATURES
from services.ingestion.service import SERVICE as INGESTION
from services.monitoring.service import SERVICE as MONITORING
from services.registry.service import SERVICE as REGISTRY
from services.serving.service import SERVICE as SERVING
from services.training.effects import Trainer
from services.training.service import SERVICE as TRAINING

SERVICES = (INGESTION, FEATURES, SERVING, MONITORING, DRIFT, TRAINING, REGISTRY, DEPLOYMENT)
PIPELINE, ONE_FEATURE, ROWS = "flights", "dep_delay", 16_384


def loop_of(definition: Definition) -> MemoryLoop:
    """Return the loop; versions and aliases are told to nobody else."""
    trainer = Trainer()
    nowhere: dict[str, Work] = dict.fromkeys(("record-version", "move-alias"), lambda _payload, _tools: {})
    effects: dict[Any, Any] = {
        TRAINING_EFFECTS: (TRAINING_RESULTS, {"fit": trainer.fit, "learn": trainer.learn}),
        REGISTRY_EFFECTS: (REGISTRY_RESULTS, nowhere),
    }
    return MemoryLoop(definition, SERVICES, Clock(), effects, max_batch=ROWS)


def run(definition: Definition, incident: str, until: int) -> MemoryLoop:
    """Publish the flights up to an instant (microseconds UTC), as the demo's publisher does."""
    tables = flights.tables()
    if incident != "none":
        name: Any = incident
        tables = {**tables, "Arrival": incidents.plant(name, tables["Arrival"])}
    loop = loop_of(definition)
    wire = Wire(definition, loop.registry, "headrace/demo")
    number = time = -1
    for step in steps(definition, tables, until=until):
        number, time = step.number, step.time
        loop.log.append(record._replace(partition=0) for record in wire.records(step))
        _rest(loop, number, time, final=False)
        if number % 30 == 0:
            sys.stderr.write(f"day {number}\n")
    _rest(loop, number + 1, time + definition.lookback, final=True)
    return loop


def _rest(loop: MemoryLoop, number: int, time: int, *, final: bool) -> None:
    name = loop.definition.name
    raw = {"0": len(loop.log.partitions[EVENTS.name(name), 0])}
    step = {"pipeline": name, "step": number, "time": time, "raw": raw, "final": final}
    loop.say(Said(STEPS, "StepRequested", step))
    loop.run()


def main() -> None:
    """Run what the arguments name and print what came of it, stretch by stretch."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("incident", choices=(*incidents.NAMES, "none"))
    parser.add_argument("--until", default="2013-08-12")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    end = datetime.fromisoformat(asked.until).replace(tzinfo=UTC).timestamp() + 5 * 3_600
    definition = find(PIPELINE, Settings().pipelines)
    loop = run(definition, asked.incident, int(end * 1_000_000))
    held = Held(
        definition, loop.registry, lambda topic, at: loop.log.partitions[topic, at], loop.artifacts.get
    )
    names = incidents.NAMES if asked.incident == "none" else (asked.incident,)
    told = {name: figures(held, name, ONE_FEATURE) for name in names}
    text = json.dumps(told, indent=1)
    print(text)
    if asked.json:
        asked.json.write_text(text)


if __name__ == "__main__":
    main()
