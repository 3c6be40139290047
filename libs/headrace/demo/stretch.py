"""Replay the last days of a pipeline and print the verdicts as JSON: ``python -m headrace.demo.stretch NAME DAYS``."""

import json
import sys

from headrace.audit.replay import Recording, replay
from headrace.bus.engine import decode_plain
from headrace.bus.kafka import read_all, read_from
from headrace.bus.provision import stages
from headrace.bus.registry import ConfluentRegistry
from headrace.contracts.topics import CONTROL_TOPICS, EVENTS, LEDGER, PREDICTIONS, TICKS
from headrace.local.settings import Settings
from headrace.pipeline.definition import DAY
from headrace.sources.pipelines import find
from headrace.store.artifacts import open_store

SCORING = ("ingestion", "features", "serving")


def main(pipeline: str, days: int) -> dict[str, int]:
    """Return the verdicts on the predictions of the last ``days`` that hold records."""
    settings = Settings()
    definition = find(pipeline, settings.pipelines)
    registry = ConfluentRegistry(settings.registry_url)
    names = [TICKS.name(pipeline), LEDGER.name(pipeline), *(t.name() for t in CONTROL_TOPICS)]
    held = {(name, 0): read_all(settings.bootstrap, name, 0) for name in names}
    ticks = [f for _, _, f in decode_plain(held[TICKS.name(pipeline), 0], registry)]
    last = max(t["time"] for t in ticks if t["reason"] != "end")
    begin = last - days * DAY
    from_tick = min(t["n"] for t in ticks if t["time"] > begin)
    horizon = max(
        (t for t in ticks if t["time"] <= begin - definition.lookback), key=lambda t: t["n"], default=None
    )
    for partition in range(definition.partitions):
        start = horizon["raw"].get(str(partition), 0) if horizon else 0
        for topic, offset in ((EVENTS, start), (PREDICTIONS, 0)):
            name = topic.name(pipeline)
            held[name, partition] = read_from(settings.bootstrap, name, partition, offset)[0]
    services = [s for s in stages(settings.root / "services") if s.name in SCORING]
    found = replay(
        Recording(pipeline, held), services, registry, open_store(settings.home), from_tick=from_tick, to_tick=ticks[-1]["n"]
    )  # fmt: skip
    return {"checked": found.checked, "match": found.match, "mismatch": found.mismatch}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
