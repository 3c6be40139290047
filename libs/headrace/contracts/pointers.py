"""Numbers that lie at an address, read by compiled code: the columns of other libraries are not copied to be read.

Nothing is checked: who gives the address answers for what lies there.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_WORD = 64


def _loading(bits: int, *, signed: bool) -> Any:
    """Return how the number at a place of an array of such numbers is read, as 64 bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        first = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
        found = builder.load(builder.gep(first, [arguments[1]]))
        if bits == _WORD:
            return found
        return (builder.sext if signed else builder.zext)(found, ir.IntType(_WORD))

    return types.int64(types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def byte_at(_: Any, address: Any, place: Any) -> Any:
    """Return the unsigned byte at a place."""
    del address, place
    return _loading(8, signed=False)


@intrinsic  # type: ignore[untyped-decorator]
def half_at(_: Any, address: Any, place: Any) -> Any:
    """Return the signed number of 32 bits at a place."""
    del address, place
    return _loading(32, signed=True)


@intrinsic  # type: ignore[untyped-decorator]
def word_at(_: Any, address: Any, place: Any) -> Any:
    """Return the number of 64 bits at a place."""
    del address, place
    return _loading(_WORD, signed=True)
