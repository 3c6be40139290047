"""The manifest of drift: all profiles of a pipeline in one lane, a tick at its close."""

from headrace.bus.service import Input, Service
from headrace.contracts.topics import DRIFT, PROFILES, RETRAIN
from services.drift.handler import close, handle, policy
from services.drift.state import TABLE

SERVICE = Service(
    name="drift",
    consumes=(Input(PROFILES, fan_in=True),),
    emits=(DRIFT, RETRAIN),
    tables=(TABLE,),
    handle=handle,
    on_due=close,
    view=policy,
    pace="tick",
)
