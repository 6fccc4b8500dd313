"""Polynomial hashing over GF(2^128): block verification and the universal half of Wegman-Carter tags.

The message, cut into 128-bit blocks, is the coefficient vector of a polynomial that is evaluated at the secret key by Horner's rule. A last
block holds the length in bits, so that no message is a padding of another. ``polynomial_hash`` takes packed bits (verification of a block);
``PolynomialHash`` takes bytes as they come (transcripts). Without the one-time-pad mask that the caller adds, a hash is no tag.

Two different messages of at most L bits, fixed before the key is drawn, differ by a given value with probability at most
``(ceil(L / 128) + 1) 2^-128``: their hashes differ by a non-zero polynomial in the key, without constant term, of at most that degree.

The field is GF(2)[x] modulo ``x^128 + x^7 + x^2 + x + 1``; bit i of a block, lowest first, is the coefficient of x^i.

Long messages are taken a group of blocks at a time: their products with powers of the key are independent, so that they fill the widest
register the processor multiplies in, and one reduction serves them all.

References
----------
[Carter1979] universal classes of hash functions; [Wegman1981] their use in authentication; evaluation of a polynomial at the key: B. den
Boer, a simple and key-economical unconditional authentication scheme, Journal of Computer Security 2 (1993); status: rigorous.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, TypeAlias, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from common.bits import count_words
from common.errors import LocalProtocolError
from common.kernels.binary_field import Registers
from common.kernels.carry_less import HAS_INSTRUCTION, LANES, multiplier, multiply_instruction, multiply_portable
from common.kernels.jit import kernel
from common.kernels.vectors import Place

BLOCK_BITS = 128
"""Bits of a block, of the key and of the hash."""

BLOCK_BYTES = BLOCK_BITS // 8

WORD_BYTES = 8

COPIED_BYTES = 1 << 12
"""Shorter pieces are joined with what waits: a copy is cheaper than a second call."""

_POLYNOMIAL_LOW = np.uint64(0x87)
"""x^7 + x^2 + x + 1, what x^128 is congruent to."""

_AGGREGATED_BLOCKS = 8
"""Blocks per reduction where products are formed one by one."""

GROUP_BLOCKS = 32
"""Blocks per reduction where products are formed in wide registers."""

_Words: TypeAlias = NDArray[np.uint64]
_Sums: TypeAlias = tuple[np.uint64, np.uint64, np.uint64, np.uint64, np.uint64, np.uint64]
_GroupSums: TypeAlias = Callable[[_Words, int, _Words, np.uint64, np.uint64, Registers], _Sums]


def _group_sums(_typing_context: Any, words: Any, _start: Any, powers: Any, _s0: Any, _s1: Any, lanes: Any) -> tuple[Any, Any]:
    count_lanes = len(lanes)
    register = ir.VectorType(ir.IntType(64), count_lanes)
    index = ir.IntType(32)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        multiply = multiplier(builder, count_lanes)
        sums = [ir.Constant(register, [0] * count_lanes)] * 3
        for first in range(0, 2 * GROUP_BLOCKS, count_lanes):
            offset = ir.Constant(ir.IntType(64), first)
            here = [*arguments[:1], builder.add(arguments[1], offset), arguments[2], offset]
            types_here = signature.replace(args=(signature.args[0], types.int64, signature.args[2], types.int64))
            block, power = (Place(context, builder, types_here, here, array, array + 1, count_lanes).load() for array in (0, 2))
            if first == 0:
                for lane in (0, 1):
                    word = builder.xor(builder.extract_element(block, ir.Constant(index, lane)), arguments[3 + lane])
                    block = builder.insert_element(block, word, ir.Constant(index, lane))
            low, high = multiply(block, power, 0x00), multiply(block, power, 0x11)
            middle = builder.xor(multiply(block, power, 0x01), multiply(block, power, 0x10))
            sums = [builder.xor(total, product) for total, product in zip(sums, (low, middle, high), strict=True)]
        words_out = []
        for total in sums:
            for half in (0, 1):
                lanes_of_half = [builder.extract_element(total, ir.Constant(index, lane)) for lane in range(half, count_lanes, 2)]
                words_out.append(reduce(builder.xor, lanes_of_half))
        return context.make_tuple(builder, signature.return_type, words_out)

    return types.UniTuple(types.uint64, 6)(words, types.int64, powers, types.uint64, types.uint64, lanes), generate


group_sums = cast("_GroupSums", intrinsic(_group_sums))
"""``(words, start, powers, s0, s1, registers)``: sum of the products of ``GROUP_BLOCKS`` blocks from word ``start`` on with powers of the
key, the state (s0, s1) added to the first block; low, middle and high words of a sum of degree 254. Callable inside kernels only."""


@kernel
def _multiply(a: np.uint64, b: np.uint64, use_instruction: bool) -> tuple[np.uint64, np.uint64]:
    if use_instruction:
        return multiply_instruction(a, b)
    return multiply_portable(a, b)


@kernel
def _reduced(r0: np.uint64, r1: np.uint64, r2: np.uint64, r3: np.uint64, use_instruction: bool) -> tuple[np.uint64, np.uint64]:
    low, high = _multiply(r3, _POLYNOMIAL_LOW, use_instruction)
    r1 ^= low
    r2 ^= high
    low, high = _multiply(r2, _POLYNOMIAL_LOW, use_instruction)
    return r0 ^ low, r1 ^ high


@kernel
def key_powers(key: _Words, use_instruction: bool) -> _Words:
    """Compute the powers of the key that ``absorb_blocks`` and ``absorb_groups`` need.

    Parameters
    ----------
    key : uint64[2]
        Field element, low word first.
    use_instruction : bool
        Multiply by the processor's instruction (only where ``HAS_INSTRUCTION``).

    Returns
    -------
    uint64[32, 2]
        Row i holds key^(32 - i): in the order in which blocks meet them.
    """
    powers = np.empty((GROUP_BLOCKS, 2), np.uint64)
    powers[GROUP_BLOCKS - 1, 0] = key[0]
    powers[GROUP_BLOCKS - 1, 1] = key[1]
    for i in range(GROUP_BLOCKS - 2, -1, -1):
        a0, a1 = powers[i + 1, 0], powers[i + 1, 1]
        low0, low1 = _multiply(a0, key[0], use_instruction)
        high0, high1 = _multiply(a1, key[1], use_instruction)
        middle0, middle1 = _multiply(a0 ^ a1, key[0] ^ key[1], use_instruction)
        middle0 ^= low0 ^ high0
        middle1 ^= low1 ^ high1
        powers[i, 0], powers[i, 1] = _reduced(low0, low1 ^ middle0, high0 ^ middle1, high1, use_instruction)
    return powers


@kernel
def absorb_blocks(words: _Words, powers: _Words, state: _Words, use_instruction: bool) -> None:
    """Advance ``state`` over whole blocks: for each block, ``state = (state + block) key``.

    Parameters
    ----------
    words : uint64[2 count_blocks]
        Blocks, low word first.
    powers : uint64[32, 2]
        From ``key_powers``.
    state : uint64[2]
        Read and written.
    use_instruction : bool
        Multiply by the processor's instruction (only where ``HAS_INSTRUCTION``).

    References
    ----------
    [Gueron2010] S. Gueron, M. Kounavis, aggregated reduction; status: exact.
    """
    count_blocks = words.size // 2
    s0, s1 = state[0], state[1]
    block = 0
    while block < count_blocks:
        together = min(_AGGREGATED_BLOCKS, count_blocks - block)
        low0 = low1 = high0 = high1 = middle0 = middle1 = np.uint64(0)
        for i in range(together):
            m0, m1 = words[2 * (block + i)], words[2 * (block + i) + 1]
            if i == 0:
                m0 ^= s0
                m1 ^= s1
            p0, p1 = powers[GROUP_BLOCKS - together + i, 0], powers[GROUP_BLOCKS - together + i, 1]
            low, high = _multiply(m0, p0, use_instruction)
            low0 ^= low
            low1 ^= high
            low, high = _multiply(m1, p1, use_instruction)
            high0 ^= low
            high1 ^= high
            low, high = _multiply(m0 ^ m1, p0 ^ p1, use_instruction)
            middle0 ^= low
            middle1 ^= high
        middle0 ^= low0 ^ high0
        middle1 ^= low1 ^ high1
        s0, s1 = _reduced(low0, low1 ^ middle0, high0 ^ middle1, high1, use_instruction)
        block += together
    state[0] = s0
    state[1] = s1


@kernel
def absorb_groups(words: _Words, powers: _Words, state: _Words, lanes: Registers) -> None:
    """Do what ``absorb_blocks`` does, in wide registers and over whole groups of blocks.

    Parameters
    ----------
    words : uint64[2 * 32 * groups]
        Blocks, low word first.
    powers : uint64[64]
        From ``key_powers``, row by row.
    state : uint64[2]
        Read and written.
    lanes : tuple
        Says by its length in which registers products are formed: 2, 4 or 8 lanes, not more than ``LANES``.

    References
    ----------
    [Gueron2010] S. Gueron, M. Kounavis, aggregated reduction; status: exact.
    """
    s0, s1 = state[0], state[1]
    for start in range(0, words.size, 2 * GROUP_BLOCKS):
        low0, low1, middle0, middle1, high0, high1 = group_sums(words, start, powers, s0, s1, lanes)
        s0, s1 = _reduced(low0, low1 ^ middle0, high0 ^ middle1, high1, True)
    state[0] = s0
    state[1] = s1


def _absorb(words: _Words, powers: _Words, state: _Words, lanes: int) -> None:
    """Advance ``state`` over whole blocks, read-only words, the wide way where there are enough of them."""
    count_wide = words.size - words.size % (2 * GROUP_BLOCKS) if lanes else 0
    if count_wide:
        absorb_groups(words[:count_wide], powers.ravel(), state, (0,) * lanes)
    if count_wide < words.size:
        absorb_blocks(words[count_wide:], powers, state, lanes > 0)


def polynomial_hash(words: _Words, count_bits: int, key: _Words, *, lanes: int = LANES) -> _Words:
    """Hash packed bits.

    Parameters
    ----------
    words : uint64[count_words(count_bits)]
        Packed bits, the unused rest zero.
    count_bits : int
        Number of bits, below 2^64; may be zero.
    key : uint64[2]
        Secret key, low word first, uniformly random.
    lanes : int
        Lanes of the instruction that multiplies: 2, 4 or 8, not more than ``LANES``; 0 selects the portable path.

    Returns
    -------
    uint64[2]
        The hash, low word first.

    Raises
    ------
    LocalProtocolError
        If ``words`` or ``key`` has the wrong size.

    References
    ----------
    [Wegman1981] and the bound above: collision probability at most ``(ceil(count_bits / 128) + 1) 2^-128``; status: rigorous.
    """
    if words.size != count_words(count_bits):
        raise LocalProtocolError(f"polynomial hash of {count_bits} bits takes {count_words(count_bits)} words, got {words.size}")
    if key.size != BLOCK_BITS // 64:
        raise LocalProtocolError(f"polynomial hash takes a key of 2 words, got {key.size}")
    powers = key_powers(np.array(key, np.uint64), lanes > 0)
    state = np.zeros(2, np.uint64)
    odd = words.size & 1
    whole = words[: words.size - odd].view()
    whole.flags.writeable = False  # one compiled form, whether the caller's bits are read-only or not
    _absorb(whole, powers, state, lanes)
    ending = np.zeros(2 * odd + 2, np.uint64)
    ending[: 1 * odd] = words[words.size - odd :]
    ending[2 * odd] = count_bits
    ending.flags.writeable = False
    absorb_blocks(ending, powers, state, lanes > 0)
    return state


class PolynomialHash:
    """The same hash over bytes that arrive in pieces of any length.

    Equal to ``polynomial_hash`` over the concatenated bytes, byte j holding bits 8 j to 8 j + 7, lowest bit first.

    Parameters
    ----------
    key : bytes[16]
        Secret key, lowest byte first.

    Raises
    ------
    LocalProtocolError
        If the key is not 16 bytes long.

    References
    ----------
    [Wegman1981] and the bound above: two transcripts of at most n bytes collide with probability at most
    ``(ceil(n / 16) + 1) 2^-128``; status: rigorous.
    """

    __slots__ = ("_count_bytes", "_pending", "_powers", "_state")

    def __init__(self, key: bytes) -> None:
        if len(key) != BLOCK_BYTES:
            raise LocalProtocolError(f"polynomial hash takes a key of {BLOCK_BYTES} bytes, got {len(key)}")
        self._powers = key_powers(np.frombuffer(key, np.uint64).copy(), HAS_INSTRUCTION)
        self._state = np.zeros(2, np.uint64)
        self._pending = b""
        self._count_bytes = 0

    @property
    def count_bytes(self) -> int:
        """Bytes absorbed so far."""
        return self._count_bytes

    def update(self, data: bytes) -> None:
        """Absorb ``data`` behind what came before.

        Parameters
        ----------
        data : bytes
            The next piece, of any length.
        """
        self._count_bytes += len(data)
        count = len(self._pending) + len(data)
        whole = count - count % BLOCK_BYTES
        if not whole:
            self._pending += data
            return
        if len(data) < COPIED_BYTES or len(self._pending) % WORD_BYTES:
            joined = self._pending + data if self._pending else data
            _absorb(np.frombuffer(joined, np.uint64, whole // WORD_BYTES), self._powers, self._state, LANES)
            self._pending = joined[whole:]
            return
        taken = -len(self._pending) % BLOCK_BYTES  # completes the block that waits; the rest is read where it lies
        if taken:
            absorb_blocks(np.frombuffer(self._pending + data[:taken], np.uint64), self._powers, self._state, HAS_INSTRUCTION)
        count_words_here = (len(data) - taken) // BLOCK_BYTES * (BLOCK_BYTES // WORD_BYTES)
        _absorb(np.frombuffer(data, np.uint64, count_words_here, taken), self._powers, self._state, LANES)
        self._pending = data[taken + WORD_BYTES * count_words_here :]

    def digest(self) -> bytes:
        """Return the hash of everything absorbed so far, 16 bytes, lowest first; absorbing may go on."""
        state = self._state.copy()
        padded = self._pending + bytes(-len(self._pending) % BLOCK_BYTES)
        ending = padded + (8 * self._count_bytes).to_bytes(BLOCK_BYTES, "little")
        absorb_blocks(np.frombuffer(ending, np.uint64), self._powers, state, HAS_INSTRUCTION)
        return state.tobytes()


def compile_hash() -> None:
    """Compile what ``PolynomialHash`` needs, unless it is compiled: whoever hashes on an event loop has it done in a thread before."""
    hashed = PolynomialHash(bytes(BLOCK_BYTES))
    hashed.update(bytes((GROUP_BLOCKS + 1) * BLOCK_BYTES))
    hashed.digest()
