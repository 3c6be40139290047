"""The manifest of training."""

import pyarrow as pa

from headrace.bus.service import Input, Service, Table
from headrace.contracts.topics import (
    DEPLOYMENTS,
    MODELS,
    PROFILES,
    QUARANTINE,
    RETRAIN,
    TRAINING_EFFECTS,
    TRAINING_RESULTS,
)
from headrace.models.deployed import fold
from services.training.handler import close, handle
from services.training.triggers import training_view

SERVICE = Service(
    name="training",
    consumes=(Input(QUARANTINE), Input(RETRAIN), Input(TRAINING_RESULTS), Input(PROFILES, fan_in=True)),
    follows={DEPLOYMENTS: fold},
    emits=(RETRAIN, MODELS, TRAINING_EFFECTS),
    tables=(Table("training", pa.schema([("state", pa.string())])),),
    handle=handle,
    on_due=close,
    view=training_view,
    pace="tick",
)
