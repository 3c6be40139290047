"""An operator's commands against a real broker: look at an event, go back a version, compute again, find a forgery."""

import json
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest
from conformance import answers, orders
from rigs import DATA_PLANE, PATIENCE, KafkaRig

from headrace.bus.kafka import producer, send
from headrace.bus.observer import KafkaObserver, Said
from headrace.contracts.topics import ALIASES, AUDIT, EVENTS, LEDGER, PREDICTIONS, QUARANTINE, STEPS, TICKS
from headrace.models.kinds import learner
from headrace.models.ports import Dataset
from headrace.pipeline.definition import Rollout
from headrace.store.artifacts import open_store
from headrace.store.keys import signing_key
from services.audit.handler import Audit
from services.clock.handler import Clock
from services.deployment.service import SERVICE as DEPLOYMENT
from tests.laws.shop import HOUR

pytestmark = pytest.mark.broker


class Platform(KafkaRig):
    """The data plane, deployment and the clock in this process; commands run as a user runs them."""

    services = (*DATA_PLANE, DEPLOYMENT)
    changes = {"rollout": Rollout(mode="direct")}  # noqa: RUF012 -- read only

    def __init__(self, name, broker):
        super().__init__(name, broker)
        self.settings, self.artifacts = broker, open_store(broker.home)
        self.parts = [self.runner(service) for service in self.services]
        self.clock = KafkaObserver("clock", Clock(), self.bootstrap, self.registry)
        self.clock.start()
        self._runners.append(self.clock)

    def pump_until(self, done):
        deadline, moved = time.monotonic() + PATIENCE, [True]
        while any(moved) or not done():
            assert time.monotonic() < deadline
            moved = [part.pump(0.02) for part in self.parts]
            self.clock.pump(0.02)

    def step(self, number, rows):
        self.append(self.events(rows))
        asked = {"pipeline": self.definition.name, "step": number, "time": (number + 1) * HOUR}
        self.say(Said(STEPS, "StepRequested", asked | {"raw": {"0": self.end(EVENTS)}, "final": False}))
        self.pump_until(lambda: any(r["step"] == number and "final" not in r for r in self.rows(STEPS)))

    def register(self, version, digest):
        told = {"pipeline": self.definition.name, "tick": -1, "model_name": "shop", "version": version}
        told |= {"model_digest": digest, "candidate_id": f"c{version}", "gates": []}
        self.say(Said(ALIASES, "ModelVersionRegistered", told))

    def ask(self, *words):
        """Run a command, and the platform beside it; return the exit code and what it printed."""
        command = [sys.executable, "-m", "headrace.cli", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, env=self.settings.environment(), **pipes) as running:
            self.pump_until(lambda: running.poll() is not None)
            out, err = running.communicate()
        assert b"Traceback" not in err, err.decode()
        return running.returncode, out.decode()


def artifact(definition, flipped):
    names = definition.features.names
    amounts = np.linspace(0, 90, 60)
    columns = dict.fromkeys(names, amounts * 0) | {
        "amount": amounts,
        "shop": ["abc"[n % 3] for n in range(60)],
    }
    target = ((amounts > 45) != flipped).astype(np.float64)
    features = pa.RecordBatch.from_pydict({n: columns[n] for n in names})
    return learner(definition).fit(Dataset(features, target, "binary", tuple(definition.label.classes)))


@pytest.fixture(scope="module")
def platform(broker):
    """Yield a platform that served with the prior, then with version 2, which took over from version 1."""
    with closing(Platform("audited", broker)) as rig:
        rig.step(0, orders(0, 15) + answers(0, 9))
        for version, flipped in ((1, False), (2, True)):
            rig.register(version, rig.artifacts.put(artifact(rig.definition, flipped)))
        rig.step(1, orders(20, 10, 1) + answers(9, 4, 1))
        rig.step(2, orders(40, 5, 2))
        yield rig


def test_an_event_is_shown_with_its_answer_its_model_and_the_deployment(platform):
    code, out = platform.ask("event", "show", "o41", "--json")
    page = json.loads(out)
    (prediction,) = page["predictions"]
    assert (code, prediction["model_version"], page["model"]["status"]) == (0, 2, "champion")
    made = page["made_champion_by"]
    assert (made["event"], made["version"], made["from_version"]) == ("Promoted", 2, 1)
    place = "{topic}/{partition}@{offset}".format(**page["raw"])
    assert platform.ask("event", "show", "--at", place, "--json") == (code, out)
    assert platform.ask("event", "show", "nobody", "--pipeline", "audited")[0] == 1


def test_a_rollback_is_obeyed_from_the_tick_that_is_told(platform):
    code, out = platform.ask("model", "rollback", "audited", "--why", "worse", "--by", "ada", "--json")
    told = json.loads(out)
    assert (code, told["event"], told["version"], told["by"], told["why"]) == (
        0,
        "RolledBack",
        1,
        "ada",
        "worse",
    )
    assert told["obeyed_after"] == told["tick"] + 1
    platform.step(3, orders(60, 6, 3))
    served = {(r["tick"] > told["obeyed_after"], r["model_version"]) for r in platform.rows(PREDICTIONS)}
    assert served == {(False, 0), (False, 2), (True, 1)}
    assert platform.ask("model", "rollback", "audited", "--why", "more")[0] == 1
    listed = json.loads(platform.ask("model", "list", "audited", "--json")[1])
    assert [v["status"] for v in listed["versions"]] == ["champion", "former"]


def test_topics_are_read_decoded(platform):
    code, out = platform.ask("topic", "tail", "deployments", "-n", "3", "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert (code, events[0]["record"], events[0]["value"]["version"]) == (0, "Promoted", 2)
    assert {e["headers"]["ce_source"] for e in events} == {"control.deployments.v1"}
    assert platform.ask("topic", "tail", "nothing")[0] == 2


def test_quarantined_labels_are_listed_and_released(platform):
    told = {
        "quarantine_id": "q1",
        "pipeline": "audited",
        "tick": 3,
        "time": 3 * HOUR,
        "slice": "a",
        "since": HOUR,
    }
    broken = {"rule": "unit", "expected": 2.8, "actual": 6.9, "detail": "sixty times too much"}
    platform.say(Said(QUARANTINE, "LabelsQuarantined", told | broken))
    code, out = platform.ask("quarantine", "list", "audited", "--json")
    assert (code, json.loads(out)["state"], json.loads(out)["since"]) == (0, "open", HOUR)
    released = (
        "quarantine",
        "release",
        "audited",
        "a",
        "--why",
        "the producer sent them again",
        "--by",
        "ada",
    )
    code, out = platform.ask(*released, "--json")
    assert (code, json.loads(out)["state"]) == (0, "released")
    (word,) = [r for r in platform.rows(QUARANTINE) if "why" in r]
    assert (word["quarantine_id"], word["by"], word["why"]) == ("q1", "ada", "the producer sent them again")
    assert platform.ask(*released)[0] == 2  # nothing is left to release
    assert "released a from 1970-01-01 01:00 until now" in platform.ask("quarantine", "list", "audited")[1]


def test_a_ledger_is_what_was_signed_until_an_entry_is_slipped_in(platform, tmp_path):
    observer = Audit(signing_key(platform.settings.home))
    with closing(KafkaObserver("audit", observer, platform.bootstrap, platform.registry)) as audit:
        audit.start()
        while len(platform.rows(AUDIT)) < len(platform.rows(TICKS)):
            audit.pump(0.1)
    code, out = platform.ask("audit", "verify", "audited", "--json")
    assert (code, json.loads(out)["flaws"]) == (0, [])
    key = tmp_path / "key.pem"
    key.write_text(platform.ask("audit", "key")[1])
    assert platform.ask("audit", "verify", "audited", "--key", str(key))[0] == 0
    platform.say(Said(LEDGER, "LedgerEntry", platform.rows(LEDGER)[0] | {"records_in": 999}))
    code, out = platform.ask("audit", "verify", "audited", "--json")
    assert (code, [f["tick"] for f in json.loads(out)["flaws"]]) == (5, [1])


def test_a_replay_matches_and_a_forged_prediction_does_not(platform):
    code, out = platform.ask("replay", "audited", "--from-tick", "1", "--json")
    verdicts = json.loads(out)
    assert (code, verdicts["match"], verdicts["mismatch"]) == (0, len(platform.rows(PREDICTIONS)), 0)
    genuine = platform.read(PREDICTIONS)[3]
    forged = genuine.value.replace(b"audited-prior", b"audited-prims")
    forger = producer(platform.bootstrap)
    send(forger, [genuine._replace(value=forged)])
    forger.flush(10)
    code, out = platform.ask("replay", "audited", "--from-tick", "1", "--json")
    assert (code, json.loads(out)["examples"]) == (5, ["o3"])
