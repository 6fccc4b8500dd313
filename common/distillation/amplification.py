"""Agreement on the key length, and privacy amplification to it.

Both ends compute the length from the same counts; the proposing half says its own, the agreeing half accepts nothing
above its own. Only then is a fresh seed drawn and sent, so that nothing an eavesdropper did can depend on it, and
both ends compress the verified block by the same matrix: the identity beside a Toeplitz matrix.

References
----------
[Krawczyk1994], [Hayashi2016], [Renner2005] leftover hashing; seed of n - 1 bits; status: rigorous.
"""

from __future__ import annotations

import numpy as np

from common.bits import Bits, SecretBits, count_bytes
from common.channel.fields import MAXIMUM_FIELD_BYTES
from common.channel.messages import KeyLengthProposal, KeyLengthVerdict, ToeplitzSeed
from common.conversation.effects import Conversation, compute, draw, receive, send
from common.distillation.recipe import Recipe
from common.distillation.values import ClosedBlock, Discarded, SecretBlock, SizedBlock
from common.errors import AbortReason, RemoteProtocolError
from common.kernels.toeplitz import modified_toeplitz_hash
from common.security.key_length import KeyLength, key_length


def propose_length(recipe: Recipe, blocks: list[ClosedBlock]) -> Conversation[list[SizedBlock | Discarded]]:
    """Propose the lengths we computed.

    Parameters
    ----------
    recipe : Recipe
        Setting and epsilons.
    blocks : list[ClosedBlock]
        Verified.

    Returns
    -------
    list[SizedBlock | Discarded]
        With a positive length, the same at both ends; discarded where the bound leaves no key or the peer computed another length.
    """
    ours = yield from compute(_lengths, recipe, blocks)
    yield from send(KeyLengthProposal(tuple(length.secret_bits for length in ours)))
    verdict = yield from receive(KeyLengthVerdict)
    return _agreed(blocks, ours, Bits.from_bytes(verdict.accepted, len(blocks)))


def agree_length(recipe: Recipe, blocks: list[ClosedBlock]) -> Conversation[list[SizedBlock | Discarded]]:
    """Accept the proposals that are what we computed; the other half of ``propose_length``, whose result it shares.

    A proposal below our own is a disagreement as well: both ends compute from the same counts.

    Parameters
    ----------
    recipe : Recipe
        Setting and epsilons.
    blocks : list[ClosedBlock]
        Verified.

    Returns
    -------
    list[SizedBlock | Discarded]
        As at the other end.

    Raises
    ------
    RemoteProtocolError
        If there is not one proposal for each block.
    """
    ours = yield from compute(_lengths, recipe, blocks)
    theirs = (yield from receive(KeyLengthProposal)).secret_bits
    if len(theirs) != len(ours):
        raise RemoteProtocolError(f"{len(theirs)} key lengths proposed for {len(ours)} blocks")
    accepted = Bits.from_flags(np.array([a.secret_bits == b for a, b in zip(ours, theirs, strict=True)], np.bool_))
    yield from send(KeyLengthVerdict(accepted.to_bytes()))
    return _agreed(blocks, ours, accepted)


def _lengths(recipe: Recipe, blocks: list[ClosedBlock]) -> list[KeyLength]:
    return [key_length(block.counts, block.leakage, recipe.setting, recipe.budget) for block in blocks]


def _agreed(blocks: list[ClosedBlock], ours: list[KeyLength], accepted: Bits) -> list[SizedBlock | Discarded]:
    agreed: list[SizedBlock | Discarded] = []
    for block, length, is_accepted in zip(blocks, ours, accepted.to_flags().tolist(), strict=True):
        if not is_accepted:
            agreed.append(Discarded(block, AbortReason.KEY_LENGTH_DISAGREEMENT))
        elif not length.secret_bits:
            agreed.append(Discarded(block, length.reason or AbortReason.LEAKAGE_EXCEEDS_ENTROPY, length))
        else:
            agreed.append(SizedBlock(block, length))
    return agreed


def draw_seed(blocks: list[SizedBlock]) -> Conversation[list[SecretBlock]]:
    """Draw a seed for each block, send them in chunks and amplify.

    Parameters
    ----------
    blocks : list[SizedBlock]
        Verified, with the lengths agreed on.

    Returns
    -------
    list[SecretBlock]
        The same keys at both ends.
    """
    seeds = []
    for sized in blocks:
        count_seed = _seed_bits(sized)
        drawn = bytearray((yield from draw(count_bytes(count_seed))))
        if count_seed & 7:
            drawn[-1] &= (1 << (count_seed & 7)) - 1
        seed = bytes(drawn)
        chunks = [seed[start : start + MAXIMUM_FIELD_BYTES] for start in range(0, len(seed), MAXIMUM_FIELD_BYTES)]
        for number, chunk in enumerate(chunks):
            yield from send(ToeplitzSeed(sized.block.number, number, len(chunks), chunk))
        seeds.append(seed)
    return (yield from compute(_amplified, blocks, seeds))


def take_seed(blocks: list[SizedBlock]) -> Conversation[list[SecretBlock]]:
    """Take the peer's seeds and amplify; the other half of ``draw_seed``.

    Parameters
    ----------
    blocks : list[SizedBlock]
        Verified, with the lengths agreed on.

    Returns
    -------
    list[SecretBlock]
        The same keys at both ends.

    Raises
    ------
    RemoteProtocolError
        If the chunks are out of order or do not add up to the seeds.
    """
    seeds = []
    for sized in blocks:
        count_chunks = -(-count_bytes(_seed_bits(sized)) // MAXIMUM_FIELD_BYTES)
        parts = []
        for number in range(count_chunks):
            said = yield from receive(ToeplitzSeed)
            if (said.block, said.chunk, said.count_chunks) != (sized.block.number, number, count_chunks):
                raise RemoteProtocolError(f"seed chunk {said.chunk} of {said.count_chunks}, expected {number} of {count_chunks}")
            parts.append(said.seed)
        seeds.append(b"".join(parts))
    return (yield from compute(_amplified, blocks, seeds))


def _seed_bits(sized: SizedBlock) -> int:
    return sized.block.key.bits.count - 1


def _amplified(blocks: list[SizedBlock], seeds: list[bytes]) -> list[SecretBlock]:
    secret = []
    for sized, seed in zip(blocks, seeds, strict=True):
        seed_words = Bits.from_bytes(seed, _seed_bits(sized)).words
        bits, count = sized.block.key.bits, sized.length.secret_bits
        key = Bits(modified_toeplitz_hash(bits.words, bits.count, seed_words, count), count)
        secret.append(SecretBlock(sized.block, sized.length, SecretBits(key)))
    return secret
