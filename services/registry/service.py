"""The manifest of registry."""

import pyarrow as pa

from headrace.bus.service import Input, Service, Table
from headrace.contracts.topics import (
    ALIASES,
    DEPLOYMENTS,
    MODELS,
    REGISTRY_EFFECTS,
    REGISTRY_RESULTS,
)
from services.registry.handler import handle, policy

VERSIONS = Table(
    "versions",
    pa.schema([("version", pa.int32()), ("model_digest", pa.string()), ("candidate_id", pa.string())]),
)
ALIAS = Table("aliases", pa.schema([("version", pa.int32()), ("model_digest", pa.string())]))
PENDING = Table(
    "pending", pa.schema([("kind", pa.string()), ("payload", pa.string()), ("attempt", pa.int32())])
)

SERVICE = Service(
    name="registry",
    consumes=(Input(MODELS), Input(DEPLOYMENTS), Input(REGISTRY_RESULTS)),
    emits=(ALIASES, REGISTRY_EFFECTS),
    tables=(VERSIONS, ALIAS, PENDING),
    handle=handle,
    view=policy,
    pace="tick",
)
