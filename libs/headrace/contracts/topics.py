"""The topics, by name: what a manifest consumes, follows and emits."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Topic:
    """A stream of a pipeline (one topic for each pipeline) or a control topic (one for all, one partition).

    Records of a topic with ``headers`` off carry none: their bodies hold what CloudEvents headers would repeat. Those of
    a ``moved`` topic lie in the partition of their key, whichever lane writes them, and the ledger counts them under
    ``<topic>/<partition>``.
    """

    stream: str
    scope: Literal["pipeline", "control"] = "pipeline"
    producers: tuple[str, ...] = ()
    headers: bool = True
    moved: bool = False

    def name(self, pipeline: str = "") -> str:
        """Return the Kafka topic's name, for example ``flights.validated.v1`` or ``control.models.v1``."""
        return f"{pipeline}.{self.stream}.v1" if self.scope == "pipeline" else f"{self.stream}.v1"


EVENTS = Topic("events", producers=("producers",))
TICKS = Topic("ticks", producers=("clock",))
STEPS = Topic("steps", producers=("producers", "clock"))
LEDGER = Topic("ledger", producers=("every service",))
VALIDATED = Topic("validated", producers=("ingestion",), headers=False)
REKEYED = Topic("rekeyed", producers=("rekey",), headers=False, moved=True)
REJECTED = Topic("rejected", producers=("ingestion", "features", "serving"))
RECEIPTS = Topic("receipts", producers=("ingestion", "features", "serving"))
FEATURES = Topic("features", producers=("features",), headers=False)
PREDICTIONS = Topic("predictions", producers=("serving",))
SHADOW_PREDICTIONS = Topic("shadow-predictions", producers=("serving",))
PROFILES = Topic("profiles", producers=("serving", "monitoring"))
OUTCOMES = Topic("outcomes", producers=("monitoring",))
DRIFT = Topic("drift", producers=("drift",))

PIPELINES = Topic("control.pipelines", "control", ("operators",))
COMMANDS = Topic("control.commands", "control", ("operators",))
RETRAIN = Topic("control.retrain", "control", ("drift", "training", "operators"))
MODELS = Topic("control.models", "control", ("training",))
ALIASES = Topic("control.aliases", "control", ("registry",))
DEPLOYMENTS = Topic("control.deployments", "control", ("deployment",))
QUARANTINE = Topic("control.quarantine", "control", ("monitoring", "operators"))
AUDIT = Topic("control.audit", "control", ("audit",))
TRAINING_EFFECTS = Topic("training.effects", "control", ("training",))
TRAINING_RESULTS = Topic("training.effect-results", "control", ("training",))
REGISTRY_EFFECTS = Topic("registry.effects", "control", ("registry",))
REGISTRY_RESULTS = Topic("registry.effect-results", "control", ("registry",))

PIPELINE_TOPICS = (
    EVENTS, TICKS, STEPS, LEDGER, VALIDATED, REKEYED, REJECTED, RECEIPTS, FEATURES, PREDICTIONS, SHADOW_PREDICTIONS,
    PROFILES, OUTCOMES, DRIFT,
)  # fmt: skip
CONTROL_TOPICS = (
    PIPELINES, COMMANDS, RETRAIN, MODELS, ALIASES, DEPLOYMENTS, QUARANTINE, AUDIT,
    TRAINING_EFFECTS, TRAINING_RESULTS, REGISTRY_EFFECTS, REGISTRY_RESULTS,
)  # fmt: skip
# What a tick cuts: every control topic that some handler reads.
CUT_TOPICS = (
    PIPELINES, COMMANDS, RETRAIN, MODELS, ALIASES, DEPLOYMENTS, QUARANTINE, TRAINING_RESULTS, REGISTRY_RESULTS,
)  # fmt: skip


def changelog(service: str, pipeline: str) -> str:
    """Return the name of the compacted topic that holds a service's state for one pipeline."""
    return f"{pipeline}.{service}-changelog.v1"
