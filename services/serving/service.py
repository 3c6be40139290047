"""The manifest of serving."""

import pyarrow as pa

from headrace.bus.service import Input, Service, Table
from headrace.contracts.topics import (
    DEPLOYMENTS,
    FEATURES,
    PREDICTIONS,
    PROFILES,
    QUARANTINE,
    SHADOW_PREDICTIONS,
)
from headrace.models import deployed
from headrace.pipeline import quarantine
from services.serving.handler import close, handle, models

SERVICE = Service(
    name="serving",
    consumes=(Input(FEATURES),),
    follows={DEPLOYMENTS: deployed.fold, QUARANTINE: quarantine.fold},
    emits=(PREDICTIONS, SHADOW_PREDICTIONS, PROFILES),
    tables=(Table("profile", pa.schema([("counted", pa.string())])),),
    handle=handle,
    on_due=close,
    view=models,
)
