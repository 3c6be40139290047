"""Functions of C libraries, called by their address from compiled code."""

import ctypes
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_WORD = ir.IntType(64)


@cache
def plain(name: str) -> int:
    """Return the address of a function of the C library."""
    return address(getattr(ctypes.CDLL(None), name))


def address(function: Any) -> int:
    """Return the address of a function of an opened library."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _calling(count: int) -> Any:
    """Return how a call with so many words is compiled."""
    signature = types.int64(*[types.int64] * (count + 1))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        function = builder.inttoptr(arguments[0], ir.FunctionType(_WORD, [_WORD] * count).as_pointer())
        return builder.call(function, arguments[1:])

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]
def call(_: Any, address: Any, first: Any, second: Any, third: Any) -> Any:
    """Call the function at an address with three words (it may take fewer) and return its word.

    Of a function that returns 32 bits, only those count.
    """
    del address, first, second, third
    return _calling(3)


@intrinsic  # type: ignore[untyped-decorator]
def call_with_five(_: Any, address: Any, first: Any, second: Any, third: Any, fourth: Any, fifth: Any) -> Any:
    """Do what :func:`call` does, with five words."""
    del address, first, second, third, fourth, fifth
    return _calling(5)
