"""The manifest of deployment."""

import pyarrow as pa

from headrace.bus.service import Input, Service, Table
from headrace.contracts.topics import ALIASES, COMMANDS, DEPLOYMENTS, OUTCOMES, QUARANTINE
from services.deployment.handler import decide, handle, policy

DEPLOYMENT = Table("deployment", pa.schema([("state", pa.string())]))
BLOCKS = Table(
    "blocks",
    pa.schema(
        [
            ("count", pa.int64()),
            ("champion_loss", pa.float64()),
            ("challenger_loss", pa.float64()),
        ]
    ),
)

SERVICE = Service(
    name="deployment",
    consumes=(Input(QUARANTINE), Input(ALIASES), Input(COMMANDS), Input(OUTCOMES, fan_in=True)),
    emits=(DEPLOYMENTS,),
    tables=(DEPLOYMENT, BLOCKS),
    handle=handle,
    on_due=decide,
    view=policy,
    pace="tick",
)
