"""River objects as canonical JSON and back: equal state gives equal text in any process, and nothing is unpickled.

Python's own reduction protocol says what an object is made of; each piece is written by value, in order of first
appearance, with shared pieces written once. Restoring calls only classes of ``river`` and a few of the standard
library: a text that names anything else is refused.
"""

import copyreg
import json
import math
from collections.abc import Callable, Iterable
from importlib import import_module
from random import Random
from types import FunctionType
from typing import Any

import numpy as np

from headrace.models.ports import ArtifactError

STANDARD = frozenset({
    "builtins:bool", "builtins:dict", "builtins:float", "builtins:int", "builtins:list", "builtins:set",
    "builtins:str", "collections:Counter", "collections:OrderedDict", "collections:defaultdict",
    "collections:deque", "copy:deepcopy", "datetime:timedelta", "functools:partial", "random:Random",
})  # fmt: skip
_PLAIN = (type(None), bool, int, str)
_NEW: Any = vars(copyreg)["__newobj__"]  # cls.__new__(cls, *args): how a plain object says it is made


def dumps(value: Any) -> bytes:
    """Return the canonical bytes; raise ``ArtifactError`` for a piece that ``loads`` would refuse."""
    return json.dumps(_Writer().write(value), separators=(",", ":"), allow_nan=False).encode()


def loads(body: bytes) -> Any:
    """Return the object; raise ``ArtifactError`` for a class that is not allowed or a text of another form."""
    try:
        return _Reader().read(json.loads(body))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ArtifactError("the text is not the state of a river model", repr(error)) from error


def _allowed(path: str) -> bool:
    return path in STANDARD or path.partition(":")[0].partition(".")[0] == "river"


class _Writer:
    def __init__(self) -> None:
        self.seen: dict[int, tuple[int, Any]] = {}  # the object is kept alive, so that its id stays its own

    def write(self, value: Any) -> Any:
        """Return JSON: plain scalars as they are, everything else as ``[tag, ...]``."""
        if type(value) in _PLAIN:
            return value
        if isinstance(value, np.generic | type) or type(value) in (float, bytes, FunctionType):
            return _scalar(value)
        if type(value) is tuple:
            return ["tuple", self._all(value)]
        if type(value) in (set, frozenset):
            return [type(value).__name__, sorted(self._all(value), key=json.dumps)]
        if id(value) in self.seen:
            return ["ref", self.seen[id(value)][0]]
        self.seen[id(value)] = (len(self.seen), value)
        return self._shared(value)

    def _shared(self, value: Any) -> Any:
        if type(value) is list:
            return ["list", self._all(value)]
        if type(value) is dict:
            return ["dict", self._pairs(value.items())]
        if isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                raise ArtifactError("an array of Python objects has no canonical state")
            return ["array", value.dtype.str, list(value.shape), np.ascontiguousarray(value).tobytes().hex()]
        return self._object(value)

    def _object(self, value: Any) -> Any:
        reduced = value.__reduce_ex__(4)
        if isinstance(reduced, str):  # a function, known by its name
            return ["type", _path(value)]
        make, args, state, items, pairs = (*reduced, None, None, None)[:5]
        kind, args = (args[0], args[1:]) if make is _NEW else (make, args)
        if isinstance(state, dict) and state.get("seed", 0) is None and isinstance(state.get("_rng"), Random):
            state = {**state, "_rng": Random(0)}  # noqa: S311 - an unseeded one holds chance, nothing learnt
        tag = "new" if make is _NEW else "call"
        return [
            tag, _path(kind), self._all(args), self.write(state), self._all(items or ()), self._pairs(pairs or ()),
        ]  # fmt: skip

    def _all(self, values: Iterable[Any]) -> list[Any]:
        return [self.write(v) for v in values]

    def _pairs(self, pairs: Iterable[tuple[Any, Any]]) -> list[list[Any]]:
        return [[self.write(k), self.write(v)] for k, v in pairs]


def _scalar(value: Any) -> Any:
    if isinstance(value, np.generic):
        return ["scalar", value.dtype.str, value.tobytes().hex()]
    if isinstance(value, float):
        return value if math.isfinite(value) else ["float", repr(value)]
    return ["bytes", value.hex()] if isinstance(value, bytes) else ["type", _path(value)]


def _path(kind: Any) -> str:
    path = f"{kind.__module__}:{kind.__qualname__}"
    if not _allowed(path) or "<" in path:  # a lambda has no name to be found by
        raise ArtifactError(f"{path} may not be part of a stored model", "only classes of river are restored")
    return path


def _found(path: str) -> Any:
    """Return what the path names; its own name must be that path, or ``river.x:os.system`` would pass."""
    if not _allowed(path):
        raise ArtifactError(f"the model's state names {path}", "only classes of river are restored")
    module, _, name = path.partition(":")
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if _path(found) != path:
        raise ArtifactError(f"the model's state names {path}", f"that is {_path(found)}")
    return found


def _maker(path: str) -> Any:
    found = _found(path)
    if not isinstance(found, type) and not found.__name__.startswith("__pyx_unpickle"):
        raise ArtifactError(f"{path} is not a class", "a model's state calls constructors only")
    return found


class _Reader:
    def __init__(self) -> None:
        self.made: list[Any] = []

    def read(self, text: Any) -> Any:
        """Return the value of one piece of JSON."""
        if not isinstance(text, list):
            return text
        tag, *parts = text
        return getattr(self, f"_{_TAGS[tag]}")(*parts)

    def _number(self, digits: str) -> float:
        return float(digits)

    def _kind(self, path: str) -> Any:
        return _found(path)

    def _bytes(self, digits: str) -> bytes:
        return bytes.fromhex(digits)

    def _scalar(self, dtype: str, body: str) -> Any:
        return np.frombuffer(bytes.fromhex(body), dtype)[0]

    def _tuple(self, parts: list[Any]) -> tuple[Any, ...]:
        return tuple(self._all(parts))

    def _set(self, parts: list[Any]) -> set[Any]:
        return set(self._all(parts))

    def _frozenset(self, parts: list[Any]) -> frozenset[Any]:
        return frozenset(self._all(parts))

    def _ref(self, number: int) -> Any:
        return self.made[number]

    def _list(self, parts: list[Any]) -> list[Any]:
        out: list[Any] = []
        self.made.append(out)
        out.extend(self._all(parts))
        return out

    def _dict(self, pairs: list[list[Any]]) -> dict[Any, Any]:
        out: dict[Any, Any] = {}
        self.made.append(out)
        out.update(self._pairs(pairs))
        return out

    def _array(self, dtype: str, shape: list[int], body: str) -> Any:
        self.made.append(np.frombuffer(bytes.fromhex(body), dtype).reshape(shape).copy())
        return self.made[-1]

    def _new(self, path: str, args: list[Any], *rest: Any) -> Any:
        return self._object(lambda: _maker(path).__new__(_maker(path), *self._all(args)), *rest)

    def _call(self, path: str, args: list[Any], *rest: Any) -> Any:
        return self._object(lambda: _maker(path)(*self._all(args)), *rest)

    def _object(self, make: Callable[[], Any], state: Any, items: list[Any], pairs: list[Any]) -> Any:
        number = len(self.made)
        self.made.append(None)  # its number is taken before those of its pieces, as the writer does
        out = self.made[number] = make()
        _set_state(out, self.read(state))
        for item in self._all(items):
            out.append(item)
        for key, value in self._pairs(pairs):
            out[key] = value
        return out

    def _all(self, parts: list[Any]) -> list[Any]:
        return [self.read(p) for p in parts]

    def _pairs(self, pairs: list[list[Any]]) -> list[tuple[Any, Any]]:
        return [(self.read(k), self.read(v)) for k, v in pairs]


_TAGS = {
    "float": "number", "type": "kind", "bytes": "bytes", "scalar": "scalar", "tuple": "tuple", "set": "set", "frozenset": "frozenset",
    "ref": "ref", "list": "list", "dict": "dict", "array": "array", "new": "new", "call": "call",
}  # fmt: skip


def _set_state(out: Any, state: Any) -> None:
    if state is None:
        return
    if hasattr(out, "__setstate__"):
        out.__setstate__(state)
        return
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    for name, value in {**(attributes or {}), **(slots or {})}.items():
        object.__setattr__(out, name, value)
