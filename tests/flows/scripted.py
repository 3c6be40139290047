"""A pipeline whose events say what the champion and the challenger lost on them, and the stages that pass this on."""

import hashlib

import numpy as np
import pyarrow as pa
from coins import TIME, record

from headrace.bus.service import Emit, Input, Service, Step
from headrace.contracts.arrow import arrow_schema
from headrace.contracts.catalogue import schema
from headrace.contracts.topics import DEPLOYMENTS, OUTCOMES, PROFILES, VALIDATED
from headrace.models.deployed import Deployed, fold
from headrace.pipeline.definition import Definition

DAY = 86_400_000_000
BET = record("Bet", ("bet_id", "string"), ("at", TIME), ("lost", "double"), ("challenger_lost", "double"))
END = record("End", ("end_id", "string"), ("bet_id", "string"), ("at", TIME))


def pipeline(**changes):
    """Return the definition of a pipeline with day-long steps and blocks."""
    return Definition.model_validate(
        {
            "name": "bets",
            "task": "binary",
            "clock": {"kind": "source", "step": "1d"},
            "records": {
                "Bet": {"contract": BET, "role": "event", "id": "bet_id", "key": ["bet_id"], "time": "at"},
                "End": {
                    "contract": END, "role": "label", "id": "end_id", "key": ["bet_id"], "time": "at", "joins": "bet_id",
                },
            },
            "label": {"record": "End", "sql": "bet_id", "classes": ["no", "yes"]},
            "features": {"rows": [{"name": "lost", "sql": "lost"}]},
            "estimator": {"path": "sklearn.linear_model:LogisticRegression"},
            "prior": {"no": 0.5, "yes": 0.5},
            "training": {"train_after": 10, "cooldown": "2d"},
            "gates": {"min_rows": 5},
            "rollout": {"min_blocks": 2, "max_blocks": 6, "margin": 0.02, "bound": 0.025, "alpha": 0.2},
        }
        | changes
    )  # fmt: skip


def day(number, *, rows=10, lost=0.3, challenger=0.3):
    """Return a day's events; each was answered within the day."""
    at = number * DAY
    return [
        ("Bet", {"bet_id": f"{number}-{n}", "at": at + n, "lost": lost, "challenger_lost": challenger})
        for n in range(rows)
    ]


def _outcomes(batch, _rows, view):
    data = pa.RecordBatch.from_struct_array(batch.records["Bet"].columns["data"])
    count = len(batch)
    deployed = view or Deployed()
    champion = deployed.champion.digest if deployed.champion else "prior"
    challenger = deployed.challenger.digest if deployed.challenger else None
    outcome = {
        "outcome_id": batch.lineage["event_id"],
        "prediction_id": batch.lineage["event_id"],
        "model_digest": [champion] * count,
        "route": ["champion"] * count,
        "scores": pa.array([[]] * count, pa.map_(pa.string(), pa.float64())),
        "challenger_digest": pa.array([challenger] * count, pa.string()),
        "challenger_scores": pa.array([[]] * count, pa.map_(pa.string(), pa.float64())),
        "predicted_tick": [batch.tick] * count,
        "loss": data["lost"],
        "challenger_loss": data["challenger_lost"] if challenger else pa.nulls(count, pa.float64()),
        "status": ["labelled"] * count,
    }
    cause = np.arange(count)
    profile = pa.RecordBatch.from_pylist(
        [_profile(i) for i in batch.lineage["event_id"].to_pylist()], schema=_PROFILE
    )
    return Step(
        emitted={
            OUTCOMES: [Emit("Outcome", pa.RecordBatch.from_pydict(outcome), cause=cause)],
            PROFILES: [Emit("Profile", profile, cause=cause)],
        }
    )


def _profile(event_id):
    return {
        "profile_id": event_id, "pipeline": "bets", "partition": 0, "time": 0, "producer": "monitoring", "champion": "",
        "features": [], "scores": [], "quality": {"count": 1, "loss_sum": 0, "calibration": []},
    }  # fmt: skip


_PROFILE = pa.schema([f for f in arrow_schema(schema("Profile")) if f.name != "tick"])


def _absorb(batch, _rows, _view):
    return Step(absorbed=np.arange(len(batch)))


SERVING = Service(
    name="serving", consumes=(Input(VALIDATED),), emits=(PROFILES,), handle=_absorb, view=lambda _: None
)
MONITORING = Service(
    name="monitoring",
    consumes=(Input(VALIDATED),),
    follows={DEPLOYMENTS: fold},
    emits=(OUTCOMES, PROFILES),
    handle=_outcomes,
    view=lambda context: context.controls.get(DEPLOYMENTS),
    pace="tick",
)


class Trainer:
    """Answers every fit with a model of its own and the losses that the test gives, in order."""

    def __init__(self, *losses):
        self._losses = list(losses) or [(0.3, None)]
        self.asked = []

    def fit(self, payload, _tools):
        if payload["effect_id"] not in [p["effect_id"] for p in self.asked]:
            self.asked.append(payload)
        loss, champion_loss = self._losses[min(len(self.asked), len(self._losses)) - 1]
        return {
            "model_digest": hashlib.sha256(payload["training_id"].encode()).hexdigest(),
            "dataset_digest": f"{payload['from_tick']}-{payload['to_tick']}",
            "rows": 100,
            "holdout_rows": 20,
            "loss": loss,
            "champion_digest": payload["champion_digest"],
            "champion_loss": champion_loss if payload["champion_digest"] else None,
            "metrics": {"auc": 0.5},
            "seed": 7,
            "fingerprint": "test",
            "artifact_bytes": 10,
        }
