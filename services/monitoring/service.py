"""The manifest of monitoring: at the close of a tick, predictions first, then the labels that answer them."""

from headrace.bus.service import Input, Service, Table
from headrace.contracts.topics import (
    OUTCOMES,
    PREDICTIONS,
    PROFILES,
    QUARANTINE,
    REKEYED,
    SHADOW_PREDICTIONS,
    VALIDATED,
)
from services.monitoring import inputs
from services.monitoring.contracts import BLOCKS, WATCHES
from services.monitoring.handler import LABELS, PENDING, QUALITY, close, handle, labels
from services.monitoring.marks import MARKS

SERVICE = Service(
    name="monitoring",
    consumes=(
        Input(QUARANTINE),
        Input(PREDICTIONS),
        Input(SHADOW_PREDICTIONS),
        Input(VALIDATED, rekeyed=REKEYED),
    ),
    emits=(OUTCOMES, PROFILES, QUARANTINE),
    tables=(
        Table("pending", PENDING, due="due"),
        Table("labels", LABELS, due="due"),
        Table("quality", QUALITY),
        MARKS,
        BLOCKS,
        WATCHES,
        inputs.BLOCKS,
        inputs.WATCHES,
        inputs.STRETCHES,
    ),
    handle=handle,
    on_due=close,
    view=labels,
    pace="tick",
)
