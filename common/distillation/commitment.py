"""Commitment: the key of a block enters both stores, behind transcript tags in both directions.

The proposing half stages its key and tags the block. The confirming half checks that tag first; it covers what both
have said, so from then on it knows that the peer has staged the very same key, stages its own and tags in turn. That
second tag tells the proposing half the same. Staged keys become usable by ``KeyCommit`` and ``KeyCommitted``; if
these are lost, the next greeting finds the block at both ends and the tag behind it vouches for that. No key is ever
usable at one end unless the other holds it.

What an earlier session left unsettled is settled here too: the first tag that is right covers the greeting on which
the settlement rests.

References
----------
[Portmann2014] reused hash key, fresh masks; ``docs/explanation/commitment``; status: rigorous.
"""

from __future__ import annotations

from common.channel.messages import KeyCommit, KeyCommitted, TranscriptTag
from common.conversation.effects import Conversation, check_transcript, persist, receive, seal_transcript, send
from common.conversation.operations import CommitKey, Settle, StageKey, TakeMask
from common.distillation.values import SecretBlock
from common.errors import RemoteProtocolError


def propose_key(secret: SecretBlock, mask_index: int, settlement: Settle | None) -> Conversation[int]:
    """Stage and tag first, commit once the peer has done the same.

    Parameters
    ----------
    secret : SecretBlock
        The key.
    mask_index : int
        First mask pair that neither end has used.
    settlement : Settle | None
        What the greeting left to settle.

    Returns
    -------
    int
        Transcript bytes our tag covers.

    Raises
    ------
    AuthenticationError
        If the peer's tag is wrong.
    RemoteProtocolError
        If the peer takes another mask or commits another length.
    """
    block = secret.block.number
    yield from persist(TakeMask(mask_index))
    yield from persist(StageKey(block, secret.key))
    sealed = yield from seal_transcript(mask_index)
    yield from send(TranscriptTag(mask_index, sealed.tag))
    theirs = yield from receive(TranscriptTag)
    _check_index(theirs.mask_index, mask_index)
    yield from check_transcript(mask_index, theirs.tag)
    if settlement:
        yield from persist(settlement)
    yield from persist(CommitKey(block))
    yield from send(KeyCommit(secret.length.secret_bits))
    _check_length((yield from receive(KeyCommitted)).secret_bits, secret)
    return sealed.count_bytes


def confirm_key(secret: SecretBlock, mask_index: int, settlement: Settle | None) -> Conversation[int]:
    """Check the peer's tag, then stage and tag, then commit; the other half of ``propose_key``, whose errors it shares.

    Parameters
    ----------
    secret : SecretBlock
        The key.
    mask_index : int
        First mask pair that neither end has used.
    settlement : Settle | None
        What the greeting left to settle.

    Returns
    -------
    int
        Transcript bytes our tag covers.
    """
    block = secret.block.number
    theirs = yield from receive(TranscriptTag)
    _check_index(theirs.mask_index, mask_index)
    yield from persist(TakeMask(mask_index))
    yield from check_transcript(mask_index, theirs.tag)
    if settlement:
        yield from persist(settlement)
    yield from persist(StageKey(block, secret.key))
    sealed = yield from seal_transcript(mask_index)
    yield from send(TranscriptTag(mask_index, sealed.tag))
    _check_length((yield from receive(KeyCommit)).secret_bits, secret)
    yield from persist(CommitKey(block))
    yield from send(KeyCommitted(secret.length.secret_bits))
    return sealed.count_bytes


def _check_index(theirs: int, ours: int) -> None:
    if theirs != ours:
        raise RemoteProtocolError(f"the peer takes mask {theirs}, due is {ours}: masks are never used twice or out of turn")


def _check_length(theirs: int, secret: SecretBlock) -> None:
    if theirs != secret.length.secret_bits:
        raise RemoteProtocolError("the peer commits a key of another length")
