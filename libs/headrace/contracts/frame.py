"""The Confluent wire format: a zero byte, the schema's id in four bytes, then the Avro body."""

import struct
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

SIZE = 5
_HEADER = struct.Struct(">bI")
UNFRAMED = -1  # stands for the id of a value that is not framed


def unframe(value: bytes | None) -> tuple[int, bytes]:
    """Return the schema id and the body; the id is ``UNFRAMED`` when the value is null, short or has another magic byte."""
    if value is None or len(value) < SIZE or value[0]:
        return UNFRAMED, value or b""
    return _HEADER.unpack_from(value)[1], value[SIZE:]


def schema_ids(data: npt.NDArray[np.uint8], bounds: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Return what :func:`unframe` says of the id of each value; value ``i`` is ``data[bounds[i]:bounds[i + 1]]``."""
    found = np.full(len(bounds) - 1, UNFRAMED, np.int64)
    framed = np.flatnonzero(np.diff(bounds) >= SIZE)
    begins = bounds[framed]
    told = np.zeros(len(framed), np.int64)
    for place in range(1, SIZE):
        told <<= 8
        told |= data[begins + place]
    found[framed] = np.where(data[begins], UNFRAMED, told)
    return found


def unframed(
    data: npt.NDArray[np.uint8], bounds: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Return values without the first five bytes of each, in the same form."""
    own, begins = data[bounds[0] : bounds[-1]], bounds - bounds[0]
    headers = begins[:-1, None] + np.arange(SIZE)
    kept = np.ones(len(own), bool)
    kept[headers[headers < begins[1:, None]]] = False
    sizes = np.maximum(np.diff(bounds) - SIZE, 0)
    return own[kept], np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)


def header(schema_id: int) -> bytes:
    """Return the five bytes that stand before a body."""
    return _HEADER.pack(0, schema_id)


def frame(schema_id: int, bodies: Iterable[bytes]) -> list[bytes]:
    """Return each body behind the header for ``schema_id``."""
    begin = header(schema_id)
    return [begin + body for body in bodies]
