"""The manifest of re-key: one lane reads all partitions, so the order in which it writes is the one that counts."""

from headrace.bus.service import Input, Service
from headrace.contracts.topics import REKEYED, VALIDATED
from services.rekey.handler import columns, declared, handle

SERVICE = Service(
    name="rekey",
    consumes=(Input(VALIDATED, fan_in=True),),
    emits=(REKEYED,),
    handle=handle,
    view=columns,
    needed=declared,
)
