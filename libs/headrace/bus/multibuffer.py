"""SHA-256 and SHA-1 of many messages, sixteen at once: each lane of a vector works on a message of its own.

A hash works through one message block after the other, so a single message leaves most of a processor idle. The
functions are those of FIPS 180-4; the method is multi-buffer hashing (Gopal et al., "Processing Multiple Buffers in
Parallel to Increase Performance on Intel Architecture Processors", Intel, 2010). LLVM makes of the vectors what the
processor has.

All that the kernel uses stands in this file, because numba's cache on disk only asks whether this file has changed.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from headrace.contracts.arrow import spans
from headrace.contracts.kernel import inlined, kernel

Bytes: TypeAlias = npt.NDArray[np.uint8]
Words: TypeAlias = npt.NDArray[np.uint32]
Int: TypeAlias = Any  # 64 bits; inside a kernel neither Python's int nor quite numpy's
Vector: TypeAlias = Any  # a value of LLVM: one word of each lane

LANES, BLOCK = 16, 64
_WORDS = BLOCK // 4  # of a block
_LENGTH = 8  # bytes at the end of a message that tell its length in bits, in either hash
SHA1 = np.array([0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0], np.uint32)
SHA256 = np.array(
    [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19], np.uint32
)  # fmt: skip
_HEADS = np.frombuffer(b"\0\1", np.uint8)  # what a leaf and a node begin with
_K1 = (0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6)
_K256 = (
    0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5,
    0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174,
    0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA,
    0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967,
    0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85,
    0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070,
    0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
    0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2,
)  # fmt: skip
_LONG = ir.IntType(64)
_VECTOR = ir.VectorType(ir.IntType(32), LANES)


class _Vectors:
    """Writes instructions on vectors."""

    def __init__(self, builder: Any) -> None:
        self.to = builder

    def all(self, word: int) -> Vector:
        """Return a vector with one word in every lane."""
        return ir.Constant(_VECTOR, [word] * LANES)

    def add(self, first: Vector, *others: Vector) -> Vector:
        """Return the sum, modulo 2**32."""
        for other in others:
            first = self.to.add(first, other)
        return first

    def xor(self, first: Vector, *others: Vector) -> Vector:
        """Return the exclusive or."""
        for other in others:
            first = self.to.xor(first, other)
        return first

    def left(self, word: Vector, bits: int) -> Vector:
        """Return the word rotated to the left."""
        return self.to.or_(self.to.shl(word, self.all(bits)), self.to.lshr(word, self.all(32 - bits)))

    def rights(self, word: Vector, *bits: int) -> Vector:
        """Return the exclusive or of the word rotated to the right by several numbers of bits."""
        return self.xor(*(self.left(word, 32 - n) for n in bits))

    def choice(self, x: Vector, y: Vector, z: Vector) -> Vector:
        """Return FIPS 180-4's Ch: the bits of ``y`` where ``x`` has ones, those of ``z`` elsewhere."""
        return self.to.xor(z, self.to.and_(x, self.to.xor(y, z)))

    def majority(self, x: Vector, y: Vector, z: Vector) -> Vector:
        """Return FIPS 180-4's Maj: the bits that two of three have."""
        return self.to.or_(self.to.and_(x, y), self.to.and_(z, self.to.or_(x, y)))


def _rounds_256(v: _Vectors, state: Sequence[Vector], words: list[Vector]) -> Sequence[Vector]:
    a, b, c, d, e, f, g, h = state
    for t, constant in enumerate(_K256):
        if t >= _WORDS:
            old, new = words[(t - 15) % _WORDS], words[(t - 2) % _WORDS]
            low = v.xor(v.rights(old, 7, 18), v.to.lshr(old, v.all(3)))
            high = v.xor(v.rights(new, 17, 19), v.to.lshr(new, v.all(10)))
            words[t % _WORDS] = v.add(words[t % _WORDS], low, words[(t - 7) % _WORDS], high)
        first = v.add(h, v.rights(e, 6, 11, 25), v.choice(e, f, g), v.all(constant), words[t % _WORDS])
        second = v.add(v.rights(a, 2, 13, 22), v.majority(a, b, c))
        a, b, c, d, e, f, g, h = v.add(first, second), a, b, c, v.add(d, first), e, f, g
    return a, b, c, d, e, f, g, h


def _rounds_1(v: _Vectors, state: Sequence[Vector], words: list[Vector]) -> Sequence[Vector]:
    a, b, c, d, e = state
    kinds = (v.choice, v.xor, v.majority, v.xor)
    for t in range(80):
        if t >= _WORDS:
            woven = (words[(t - back) % _WORDS] for back in (3, 8, 14, 16))
            words[t % _WORDS] = v.left(v.xor(*woven), 1)
        mixed = kinds[t // 20](b, c, d)
        new = v.add(v.left(a, 5), mixed, e, v.all(_K1[t // 20]), words[t % _WORDS])
        a, b, c, d, e = new, a, v.left(b, 30), c, d
    return a, b, c, d, e


def _compression(size: int, rounds: Callable[..., Sequence[Vector]]) -> Any:
    """Return how a hash takes one block of every lane into its state of ``size`` words."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        state, block = (builder.inttoptr(address, _VECTOR.as_pointer()) for address in arguments)
        places = [builder.gep(state, [ir.Constant(_LONG, n)]) for n in range(size)]
        held = [builder.load(place, align=4) for place in places]
        words = [builder.load(builder.gep(block, [ir.Constant(_LONG, n)]), align=4) for n in range(_WORDS)]
        for place, before, after in zip(places, held, rounds(_Vectors(builder), held, words), strict=True):
            builder.store(builder.add(before, after), place, align=4)
        return ir.Constant(_LONG, 0)

    return types.int64(types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def _compress_256(_: Any, state: Any, block: Any) -> Any:
    """Take a block of SHA-256: the addresses of the state's words and of the block's, ``LANES`` of each beside another."""
    del state, block
    return _compression(len(SHA256), _rounds_256)


@intrinsic  # type: ignore[untyped-decorator]
def _compress_1(_: Any, state: Any, block: Any) -> Any:
    """Do what :func:`_compress_256` does, of SHA-1."""
    del state, block
    return _compression(len(SHA1), _rounds_1)


@kernel
def _compress(state: Words, block: Words) -> None:
    if len(state) == 5:  # noqa: PLR2004 -- the words of SHA-1
        _compress_1(state.ctypes.data, block.ctypes.data)
    else:
        _compress_256(state.ctypes.data, block.ctypes.data)


@intrinsic  # type: ignore[untyped-decorator]
def _word(_: Any, address: Any) -> Any:
    """Return the word at an address, whose first byte is its highest."""
    del address

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        place = builder.inttoptr(arguments[0], ir.IntType(32).as_pointer())
        return builder.bswap(builder.load(place, align=1))

    return types.uint32(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def _copy(_: Any, to: Any, begin: Any, size: Any) -> Any:
    """Copy bytes from an address to another."""
    del to, begin, size

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del context, signature
        byte = ir.IntType(8).as_pointer()
        move = builder.module.declare_intrinsic("llvm.memcpy", [byte, byte, _LONG])
        there, here = (builder.inttoptr(address, byte) for address in arguments[:2])
        builder.call(move, [there, here, arguments[2], ir.Constant(ir.IntType(1), 0)])
        return ir.Constant(_LONG, 0)

    return types.int64(types.int64, types.int64, types.int64), generate


@inlined
def _lay(address: Int, block: Words, lane: Int) -> None:
    """Put the 64 bytes at an address into a lane of a block."""
    for word in range(_WORDS):
        block[word, lane] = _word(address + 4 * word)


@inlined
def _pad(head: Bytes, body: Int, size: Int, start: Int, before: Int, out: Bytes) -> None:
    """Write the 64 bytes from ``start`` on of a message that does not fill them: head, body, mark, zeros, length.

    ``size`` counts the head and what lies at the address ``body``, ``before`` what was hashed ahead of both.
    """
    for place in range(BLOCK):
        out[place] = 0
    if start < len(head):
        _copy(out.ctypes.data, head.ctypes.data + start, len(head) - start)
    first, last = max(start, len(head)), min(size, start + BLOCK)
    if first < last:
        _copy(out.ctypes.data + first - start, body + first - len(head), last - first)
    if start <= size < start + BLOCK:
        out[size - start] = 0x80
    if size + 1 + _LENGTH <= start + BLOCK:
        bits = 8 * (before + size)
        for place in range(_LENGTH):
            out[BLOCK - 1 - place] = (bits >> (8 * place)) & 0xFF


@inlined
def _tell(state: Words, lane: Int, out: Bytes) -> None:
    for byte in range(len(out)):
        out[byte] = (state[byte // 4, lane] >> np.uint32(24 - 8 * (byte % 4))) & np.uint32(0xFF)


@inlined
def _size(head: Bytes, bounds: Any, row: Int, skip: Int) -> Int:
    """Return the size of a message behind what was taken in: a text with less than what is skipped is empty."""
    return len(head) + max(bounds[row + 1] - bounds[row] - skip, 0)


@inlined
def _take_in(prefix: Bytes, begun: Words, block: Words) -> Int:
    """Take the whole blocks of a prefix into every lane of a state to begin with; return how many bytes those are."""
    before = len(prefix) // BLOCK * BLOCK
    for start in range(0, before, BLOCK):
        for lane in range(LANES):
            _lay(prefix.ctypes.data + start, block, lane)
        _compress(begun, block)
    return before


@kernel
def _hash_all(
    prefix: Bytes, data: Bytes, bounds: Any, skip: Int, begun: Words, state: Words, block: Words, padded: Bytes,
    out: Bytes,
) -> None:  # fmt: skip
    before = _take_in(prefix, begun, block)
    head = prefix[before:]
    for row in range(0, len(out), LANES):
        count = min(LANES, len(out) - row)
        for word in range(len(state)):
            for lane in range(LANES):
                state[word, lane] = begun[word, lane]
        start, left = 0, count
        while left:
            for lane in range(count):
                body, size = (
                    data.ctypes.data + bounds[row + lane] + skip,
                    _size(head, bounds, row + lane, skip),
                )
                if len(head) <= start and start + BLOCK <= size:
                    _lay(body + start - len(head), block, lane)
                elif start < size + 1 + _LENGTH:
                    _pad(head, body, size, start, before, padded)
                    _lay(padded.ctypes.data, block, lane)
            _compress(state, block)
            start += BLOCK
            for lane in range(count):
                if 0 <= start - (_size(head, bounds, row + lane, skip) + 1 + _LENGTH) < BLOCK:
                    _tell(state, lane, out[row + lane])
                    left -= 1


@kernel
def _grow(
    data: Bytes, bounds: Any, skip: Int, size: Int, steps: Any, heads: Bytes, peaks: Bytes, nodes: Bytes,
    begun: Words, state: Words, block: Words, padded: Bytes,
) -> None:  # fmt: skip
    """Append leaves to a tree of ``size``; each pair of nodes of one height has a node above it.

    ``peaks`` has the perfect trees that are open to the right, by height; ``nodes`` has room for one of them in front.
    """
    width, count, height = nodes.shape[1], len(bounds) - 1, 0
    _hash_all(heads[:1], data, bounds, skip, begun, state, block, padded, nodes[1 : 1 + count])
    while count:
        begin = 1
        if (size >> height) & 1:
            begin, count = 0, count + 1
            for byte in range(width):
                nodes[0, byte] = peaks[height, byte]
        if count & 1:
            for byte in range(width):
                peaks[height, byte] = nodes[begin + count - 1, byte]
        count, height = count // 2, height + 1
        pairs = nodes[begin : begin + 2 * count].reshape(2 * count * width)
        _hash_all(heads[1:], pairs, steps[: count + 1], 0, begun, state, block, padded, nodes[1 : 1 + count])


def _begin(first: Words) -> tuple[Words, Words, Words, Bytes]:
    """Return what a kernel works with: the state a hash begins with in every lane, a state, a block, a padded one."""
    begun, state = np.empty((2, len(first), LANES), np.uint32)
    begun[:] = first[:, None]
    return begun, state, np.zeros((_WORDS, LANES), np.uint32), np.empty(BLOCK, np.uint8)


def digests(first: Words, texts: pa.Array, prefix: bytes = b"", skip: int = 0) -> Bytes:
    """Return the digests of ``prefix`` and each text behind its first ``skip`` bytes, a row each.

    ``first`` is the state the hash begins with, ``SHA1`` or ``SHA256``.
    """
    out = np.empty((len(texts), 4 * len(first)), np.uint8)
    _hash_all(np.frombuffer(prefix, np.uint8), *spans(texts), skip, *_begin(first), out)
    return out


def grown(peaks: Bytes, size: int, texts: pa.Array, skip: int = 0) -> None:
    """Append texts behind their first ``skip`` bytes to a Merkle tree of ``size`` leaves (RFC 6962, 2.1; SHA-256).

    ``peaks`` has a row of 32 bytes for each height and is changed in place: that of a height is the root of the perfect
    tree which stands for the bit of the size.
    """
    steps = np.arange(0, (len(texts) // 2 + 2) * BLOCK, BLOCK, dtype=np.int32)
    nodes = np.empty((len(texts) + 1, peaks.shape[1]), np.uint8)
    _grow(*spans(texts), skip, size, steps, _HEADS, peaks, nodes, *_begin(SHA256))
