"""The manifest of ingestion."""

import pyarrow as pa

from headrace.bus.service import Input, Service, Table
from headrace.contracts.topics import EVENTS, RECEIPTS, REJECTED, VALIDATED
from services.ingestion.handler import contract, handle

CLAIMS = Table("claims", pa.schema([("body", pa.binary()), ("due", pa.int64())]), due="due")

VALUES = Table(
    "values", pa.schema([("event_id", pa.string()), ("at", pa.int64()), ("due", pa.int64())]), due="due"
)

SERVICE = Service(
    name="ingestion",
    consumes=(Input(EVENTS),),
    emits=(VALIDATED, REJECTED, RECEIPTS),
    tables=(CLAIMS, VALUES),
    handle=handle,
    view=contract,
)
