"""What changed between two versions of an Avro schema, in words: each change has a kind, each kind its consequences.

Backward: a reader with the new schema reads old records. Forward: a reader with the old schema reads new ones.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

_PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
_NAMED = ("record", "enum", "fixed")
_PARTS = {"array": "items", "map": "values"}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of change: which readers still read, why, and what to do instead."""

    reads: Literal["both", "backward", "forward", "neither"]
    why: str
    fix: str = ""

    @property
    def backward(self) -> bool:
        """Tell whether new readers read old records."""
        return self.reads in ("both", "backward")

    @property
    def forward(self) -> bool:
        """Tell whether old readers read new records."""
        return self.reads in ("both", "forward")


KEEP = "keep it; make a new field or a new major version of the topic"
DEFAULT = "give the field a default"
KINDS: Mapping[str, Kind] = {
    "record-added": Kind("both", "no record of this type was written before"),
    "record-removed": Kind(
        "forward", "records of this type in the log have no schema left", "keep its .avsc"
    ),
    "record-renamed": Kind("neither", "a record is found by its name", "keep the name"),
    "field-added-with-default": Kind("both", "the default stands where old records lack the field"),
    "field-added-without-default": Kind(
        "forward", "old records lack the field, and nothing stands in", DEFAULT
    ),
    "field-removed-with-default": Kind("both", "old readers fall back to their default"),
    "field-removed-without-default": Kind(
        "backward", "old readers ask for the field", "keep it, or give it a default one version earlier"
    ),
    "field-renamed-with-alias": Kind(
        "backward", "old readers know the old name only", "keep the old field beside the new"
    ),
    "field-moved": Kind("both", "fields are matched by name"),
    "default-added": Kind("both", "readers that lack the field now have a value"),
    "default-removed": Kind(
        "both", "harmless until a version without the field is read or written", "keep the default"
    ),
    "default-changed": Kind("both", "only records that lack the field read differently"),
    "doc-changed": Kind("both", "words are not data"),
    "type-widened": Kind("backward", "old readers cannot take the wider values", KEEP),
    "type-narrowed": Kind("forward", "old records may hold wider values", KEEP),
    "type-exchanged": Kind("both", "string and bytes are read for one another"),
    "type-changed": Kind("neither", "neither is read as the other", KEEP),
    "made-nullable": Kind("backward", "old readers cannot take a null", KEEP),
    "made-required": Kind("forward", "old records may hold a null", KEEP),
    "branch-added": Kind("backward", "old readers do not know the new branch", KEEP),
    "branch-removed": Kind("forward", "old records may hold the old branch", KEEP),
    "branches-reordered": Kind("both", "a reader resolves branches by type"),
    "symbol-added": Kind(
        "backward", "old readers do not know the symbol", "give the enum a default one version earlier"
    ),
    "symbol-added-with-default": Kind("both", "old readers take the enum's default"),
    "symbol-removed": Kind(
        "forward", "old records may hold the symbol", "keep it, or give the enum a default"
    ),
    "symbol-removed-with-default": Kind("both", "the enum's default stands for the old symbol"),
    "symbols-reordered": Kind("both", "symbols are matched by name"),
    "size-changed": Kind("neither", "a fixed has one size", KEEP),
    "type-renamed": Kind("neither", "named types are matched by name", "keep the name"),
    "type-renamed-with-alias": Kind("backward", "old readers know the old name only", "keep the name"),
    "logical-type-changed": Kind(
        "neither", "the bytes are read, and mean another thing (a unit, a time)", KEEP
    ),
    "unexplained": Kind("neither", "Avro's checker objects", KEEP),
}


@dataclass(frozen=True, slots=True)
class Change:
    """One change at a path such as ``origin.offset``; ``before`` and ``after`` as they are written."""

    kind: str
    path: str
    before: str
    after: str


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Return what changed from ``old`` to ``new``, both record schemas, in the order of the new fields."""
    if old["name"] != new["name"]:
        return [Change("record-renamed", "", old["name"], new["name"])]
    return list(_Walk(_named(old), _named(new)).types("", old, new))


def _named(schema: Any) -> dict[str, Any]:
    """Return every named type within a schema by its short name."""
    found: dict[str, Any] = {}
    if isinstance(schema, list):
        for branch in schema:
            found |= _named(branch)
    elif isinstance(schema, Mapping):
        if schema.get("type") in _NAMED:
            found[schema["name"]] = schema
        for part in ("type", "items", "values", "fields"):
            if not isinstance(schema.get(part), str):
                found |= _named(schema.get(part))
    return found


def _short(kind: Any) -> str:
    """Return the word for a type: the name of a named one, else its kind."""
    if isinstance(kind, list):
        return " | ".join(map(_short, kind))
    if not isinstance(kind, Mapping):
        return str(kind)
    if kind["type"] in _NAMED:
        return str(kind["name"])
    if (inner := _PARTS.get(kind["type"])) is not None:
        return f"{kind['type']} of {_short(kind[inner])}"
    return " ".join(filter(None, (_short(kind["type"]), kind.get("logicalType"))))


class _Walk:
    """Two schemas side by side, with the named types that each may refer to."""

    def __init__(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        self._old, self._new = old, new

    def types(self, path: str, old: Any, new: Any) -> Iterator[Change]:
        """Yield the changes from one type to another."""
        old, new = _whole(old, self._old), _whole(new, self._new)
        if isinstance(old, list) or isinstance(new, list):
            yield from self._unions(path, old, new)
            return
        before, after = old["type"], new["type"]
        if before != after:
            yield Change(_scalar_kind(before, after), path, _short(old), _short(new))
            return
        if old.get("logicalType") != new.get("logicalType"):
            yield Change("logical-type-changed", path, _short(old), _short(new))
        if before in _NAMED and old["name"] != new["name"]:
            kind = "type-renamed-with-alias" if old["name"] in _aliases(new) else "type-renamed"
            yield Change(kind, path, old["name"], new["name"])
        if before in _PARTS:
            part = _PARTS[before]
            yield from self.types(f"{path}[]", old[part], new[part])
        elif before == "record":
            yield from self._fields(path, old["fields"], new["fields"])
        elif before == "enum":
            yield from _symbols(path, old, new)
        elif before == "fixed" and old["size"] != new["size"]:
            yield Change("size-changed", path, str(old["size"]), str(new["size"]))

    def _unions(self, path: str, old: Any, new: Any) -> Iterator[Change]:
        before = {_short(b): b for b in (old if isinstance(old, list) else [old])}
        after = {_short(b): b for b in (new if isinstance(new, list) else [new])}
        gone, come = [b for b in before if b not in after], [b for b in after if b not in before]
        for branch in (b for b in before if b in after):
            yield from self.types(path, before[branch], after[branch])
        if len(gone) == len(come) == 1:
            yield from self.types(path, before[gone[0]], after[come[0]])
            gone, come = [], []
        shown = (path, _short(old), _short(new))
        if come:
            yield Change("made-nullable" if come == ["null"] else "branch-added", *shown)
        if gone:
            yield Change("made-required" if gone == ["null"] else "branch-removed", *shown)
        if list(before) != list(after) and set(before) == set(after):
            yield Change("branches-reordered", *shown)

    def _fields(self, path: str, old: list[Any], new: list[Any]) -> Iterator[Change]:
        before, after = {f["name"]: f for f in old}, {f["name"]: f for f in new}
        renamed = {
            alias: name
            for name, f in after.items()
            if name not in before
            for alias in f.get("aliases", [])
            if alias in before and alias not in after
        }
        for name, field in after.items():
            place = f"{path}.{name}".lstrip(".")
            if name in before:
                yield from _words(place, before[name], field)
                yield from self.types(place, before[name]["type"], field["type"])
            elif name not in renamed.values():
                kind = "field-added-with-default" if "default" in field else "field-added-without-default"
                yield Change(kind, place, "", _short(field["type"]))
        for alias, name in renamed.items():
            yield Change("field-renamed-with-alias", f"{path}.{alias}".lstrip("."), alias, name)
            yield from self.types(f"{path}.{name}".lstrip("."), before[alias]["type"], after[name]["type"])
        for name in (n for n in before if n not in after and n not in renamed):
            had = "default" in before[name]
            kind = "field-removed-with-default" if had else "field-removed-without-default"
            yield Change(kind, f"{path}.{name}".lstrip("."), _short(before[name]["type"]), "")
        kept = [n for n in before if n in after]
        if kept != [n for n in after if n in before]:
            yield Change("field-moved", path, ", ".join(before), ", ".join(after))


def _whole(kind: Any, named: Mapping[str, Any]) -> Any:
    """Return a type as a mapping (or a list of branches), with names looked up and wrappers taken off."""
    if isinstance(kind, str):
        return named.get(kind.rpartition(".")[2], {"type": kind})
    if isinstance(kind, Mapping) and not isinstance(kind["type"], str):
        return _whole(kind["type"], named)
    return kind


def _scalar_kind(before: str, after: str) -> str:
    wider, narrower = after in _PROMOTIONS.get(before, ()), before in _PROMOTIONS.get(after, ())
    if wider and narrower:
        return "type-exchanged"
    if wider:
        return "type-widened"
    return "type-narrowed" if narrower else "type-changed"


def _words(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    if old.get("doc") != new.get("doc"):
        yield Change("doc-changed", path, old.get("doc", ""), new.get("doc", ""))
    had, has = "default" in old, "default" in new
    if had and has and old["default"] != new["default"]:
        yield Change("default-changed", path, str(old["default"]), str(new["default"]))
    elif had != has:
        shown = (str(old.get("default", "")), str(new.get("default", "")))
        yield Change("default-added" if has else "default-removed", path, *shown)


def _symbols(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    before, after = old["symbols"], new["symbols"]
    shown = (path, ", ".join(before), ", ".join(after))
    if set(after) - set(before):
        yield Change("symbol-added-with-default" if "default" in old else "symbol-added", *shown)
    if set(before) - set(after):
        yield Change("symbol-removed-with-default" if "default" in new else "symbol-removed", *shown)
    if set(before) == set(after) and before != after:
        yield Change("symbols-reordered", *shown)


def _aliases(schema: Mapping[str, Any]) -> set[str]:
    return {alias.rpartition(".")[2] for alias in schema.get("aliases", [])}
