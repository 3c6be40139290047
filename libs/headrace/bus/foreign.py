"""Functions of C libraries, called by their address from compiled code."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_WORD = ir.IntType(64)


@intrinsic  # type: ignore[untyped-decorator]
def call(_: Any, address: Any, first: Any, second: Any, third: Any) -> Any:
    """Call the function at an address with three words (it may take fewer) and return its word."""
    del address, first, second, third
    signature = types.int64(types.int64, types.int64, types.int64, types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        function = builder.inttoptr(arguments[0], ir.FunctionType(_WORD, [_WORD] * 3).as_pointer())
        return builder.call(function, arguments[1:])

    return signature, generate
