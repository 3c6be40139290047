"""The manifest of ingestion."""

import pyarrow as pa

from headrace.bus.service import Input, Service, Table
from headrace.contracts.topics import EVENTS, RECEIPTS, REJECTED, VALIDATED
from headrace.pipeline.claims import COLUMNS, Claims
from services.ingestion.handler import contract, handle

CLAIMED = Table("claimed", COLUMNS, due="due", index=Claims)

VALUES = Table(
    "values", pa.schema([("event_id", pa.string()), ("at", pa.int64()), ("due", pa.int64())]), due="due"
)

SERVICE = Service(
    name="ingestion",
    consumes=(Input(EVENTS),),
    emits=(VALIDATED, REJECTED, RECEIPTS),
    tables=(CLAIMED, VALUES),
    handle=handle,
    view=contract,
)
