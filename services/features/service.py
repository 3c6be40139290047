"""The manifest of features."""

from headrace.bus.service import Input, Service, Table
from headrace.contracts.topics import FEATURES, REKEYED, VALIDATED
from headrace.features.windows import COLUMNS
from services.features.handler import feature_view, handle

SERVICE = Service(
    name="features",
    consumes=(Input(VALIDATED, rekeyed=REKEYED),),
    emits=(FEATURES,),
    tables=(Table("tiles", COLUMNS, due="due"),),
    handle=handle,
    view=feature_view,
)
