"""The shop with six partitions, counted by shop although records lie by order; and its features in plain Python."""

from collections import defaultdict

from headrace.bus.provision import stages
from headrace.local.settings import Settings
from tests.laws.shop import HOUR, MINUTE, SHOP

PARTITIONS = 6
STAGES = [s for s in stages(Settings().root / "services") if s.name in
          {"ingestion", "rekey", "features", "serving", "monitoring"}]  # fmt: skip
_SAID = SHOP.model_dump(mode="json")
for _record in _SAID["records"].values():
    _record["key"] = ["order_id"]
MOVED = type(SHOP).model_validate(
    _SAID | {"partitions": PARTITIONS, "rekey": {"Order": "shop", "Return": "shop"}}
)


def folded(moved):
    """Count and sum once more over (record type, fields) of the re-keyed topic in its order; shares no code."""
    orders, kept, told = defaultdict(list), defaultdict(list), {}
    for name, record in moved:
        data, at = record["data"], record["event_time"]
        if name == "Order":
            told[record["event_id"]] = {
                "kept_1h": _mean(kept[data["shop"]], at, HOUR, 5 * MINUTE),
                "orders_2h": float(len(_within(orders[data["shop"]], at, 2 * HOUR, 10 * MINUTE))),
            }
            orders[data["shop"]].append((at, 1))
        else:
            kept[data["shop"]].append((at, round(data["kept"] * 1000)))
    return told


def _within(seen, at, span, tile):
    """Return the values whose tile is one of the span's, up to that of ``at`` and not two spans behind the newest."""
    here, width = at // tile, span // tile
    newest = max((t // tile for t, _ in seen), default=here)
    oldest = max(here - width, newest - 2 * width)
    return [value for t, value in seen if oldest < t // tile <= here]


def _mean(seen, at, span, tile):
    values = _within(seen, at, span, tile)
    return sum(values) / 1000 / len(values) if values else None


def counted(vectors):
    """Return the windows of (record type, fields) of feature vectors, by event."""
    return {
        record["event_id"]: {name: record["values"][name] for name in ("kept_1h", "orders_2h")}
        for _, record in vectors
    }
