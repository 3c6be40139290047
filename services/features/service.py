"""The manifest of features."""

from headrace.bus.service import Input, Service, Table
from headrace.contracts.topics import FEATURES, REKEYED, VALIDATED
from headrace.features.tiles import COLUMNS
from services.features.handler import feature_view, forget, handle

SERVICE = Service(
    name="features",
    consumes=(Input(VALIDATED, rekeyed=REKEYED),),
    emits=(FEATURES,),
    tables=(Table("groups", COLUMNS, due="due"),),
    handle=handle,
    on_due=forget,
    view=feature_view,
)
