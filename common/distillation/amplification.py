"""Agreement on the key length, and privacy amplification to it.

Both ends compute the length from the same counts; the proposing half says its own, the agreeing half accepts nothing
above its own. Only then is a fresh seed drawn and sent, so that nothing an eavesdropper did can depend on it, and
both ends compress the verified block by the same matrix: the identity beside a Toeplitz matrix.

References
----------
[Krawczyk1994], [Hayashi2016], [Renner2005] leftover hashing; seed of n - 1 bits; status: rigorous.
"""

from __future__ import annotations

from common.bits import Bits, SecretBits, count_bytes
from common.channel.fields import MAXIMUM_FIELD_BYTES
from common.channel.messages import KeyLengthProposal, KeyLengthVerdict, ToeplitzSeed
from common.conversation.effects import Conversation, compute, draw, receive, send
from common.distillation.recipe import Recipe
from common.distillation.values import ClosedBlock, SecretBlock
from common.errors import AbortReason, BlockAborted, RemoteProtocolError
from common.kernels.toeplitz import modified_toeplitz_hash
from common.security.key_length import KeyLength, key_length


class NoProvableKeyError(BlockAborted):
    """The bound leaves no key; carries the length with its ledger and the name of the bound that failed.

    Parameters
    ----------
    length : KeyLength
        With ``secret_bits`` 0 and a reason.
    """

    def __init__(self, length: KeyLength) -> None:
        super().__init__(length.reason or AbortReason.LEAKAGE_EXCEEDS_ENTROPY)
        self.length = length


def propose_length(recipe: Recipe, block: ClosedBlock) -> Conversation[KeyLength]:
    """Propose the length we computed.

    Parameters
    ----------
    recipe : Recipe
        Setting and epsilons.
    block : ClosedBlock
        Verified.

    Returns
    -------
    KeyLength
        Positive, and accepted by the peer.

    Raises
    ------
    NoProvableKeyError
        If the bound leaves no key.
    BlockAborted
        ``KEY_LENGTH_DISAGREEMENT`` if the peer computed less.
    """
    ours = yield from compute(key_length, block.counts, block.leakage, recipe.setting, recipe.budget)
    yield from send(KeyLengthProposal(ours.secret_bits))
    verdict = yield from receive(KeyLengthVerdict)
    return _agreed(ours, verdict.accepted, block)


def agree_length(recipe: Recipe, block: ClosedBlock) -> Conversation[KeyLength]:
    """Accept the proposal if it is what we computed; the other half of ``propose_length``, whose result and errors it shares.

    A proposal below our own is a disagreement as well: both ends compute from the same counts.

    Parameters
    ----------
    recipe : Recipe
        Setting and epsilons.
    block : ClosedBlock
        Verified.

    Returns
    -------
    KeyLength
        Positive, and the same at both ends.
    """
    ours = yield from compute(key_length, block.counts, block.leakage, recipe.setting, recipe.budget)
    proposal = yield from receive(KeyLengthProposal)
    accepted = proposal.secret_bits == ours.secret_bits
    yield from send(KeyLengthVerdict(accepted))
    return _agreed(ours, accepted, block)


def _agreed(ours: KeyLength, accepted: bool, block: ClosedBlock) -> KeyLength:
    if not accepted:
        raise BlockAborted(AbortReason.KEY_LENGTH_DISAGREEMENT, block.leakage)
    if ours.secret_bits == 0:
        raise NoProvableKeyError(ours)
    return ours


def draw_seed(block: ClosedBlock, length: KeyLength) -> Conversation[SecretBlock]:
    """Draw the seed, send it in chunks and amplify.

    Parameters
    ----------
    block : ClosedBlock
        Verified.
    length : KeyLength
        Agreed.

    Returns
    -------
    SecretBlock
        The same key at both ends.
    """
    count_seed = _seed_bits(block)
    drawn = bytearray((yield from draw(count_bytes(count_seed))))
    if count_seed & 7:
        drawn[-1] &= (1 << (count_seed & 7)) - 1
    seed = bytes(drawn)
    chunks = [seed[start : start + MAXIMUM_FIELD_BYTES] for start in range(0, len(seed), MAXIMUM_FIELD_BYTES)]
    for number, chunk in enumerate(chunks):
        yield from send(ToeplitzSeed(number, len(chunks), chunk))
    return (yield from compute(_amplified, block, length, seed))


def take_seed(block: ClosedBlock, length: KeyLength) -> Conversation[SecretBlock]:
    """Take the peer's seed and amplify; the other half of ``draw_seed``.

    Parameters
    ----------
    block : ClosedBlock
        Verified.
    length : KeyLength
        Agreed.

    Returns
    -------
    SecretBlock
        The same key at both ends.

    Raises
    ------
    RemoteProtocolError
        If the chunks are out of order or do not add up to the seed.
    """
    expected = count_bytes(_seed_bits(block))
    count_chunks = -(-expected // MAXIMUM_FIELD_BYTES)
    parts = []
    for number in range(count_chunks):
        said = yield from receive(ToeplitzSeed)
        if (said.chunk, said.count_chunks) != (number, count_chunks):
            raise RemoteProtocolError(f"seed chunk {said.chunk} of {said.count_chunks}, expected {number} of {count_chunks}")
        parts.append(said.seed)
    return (yield from compute(_amplified, block, length, b"".join(parts)))


def _seed_bits(block: ClosedBlock) -> int:
    return block.key.bits.count - 1


def _amplified(block: ClosedBlock, length: KeyLength, seed: bytes) -> SecretBlock:
    seed_words = Bits.from_bytes(seed, _seed_bits(block)).words
    bits = block.key.bits
    words = modified_toeplitz_hash(bits.words, bits.count, seed_words, length.secret_bits)
    return SecretBlock(block, length, SecretBits(Bits(words, length.secret_bits)))
