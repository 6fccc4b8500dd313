"""Commitment: the keys of a group of blocks enter both stores, behind transcript tags in both directions.

The proposing half stages its keys and tags the group. The confirming half checks that tag first; it covers what both
have said, so from then on it knows that the peer has staged the very same keys, stages its own and tags in turn. That
second tag tells the proposing half the same. Staged keys become usable by ``KeyCommit`` and ``KeyCommitted``; if
these are lost, the next greeting finds the blocks at both ends and the tag behind it vouches for that. No key is ever
usable at one end unless the other holds it. The keys of a group are staged in one transaction, and committed in one.

What an earlier session left unsettled is settled here too: the first tag that is right covers the greeting on which
the settlement rests.

References
----------
[Portmann2014] reused hash key, fresh masks; ``docs/explanation/commitment``; status: rigorous.
"""

from __future__ import annotations

from common.channel.messages import KeyCommit, KeyCommitted, TranscriptTag
from common.conversation.effects import Conversation, check_transcript, persist, receive, seal_transcript, send
from common.conversation.operations import CommitKeys, Settle, StageKeys, TakeMask
from common.distillation.values import SecretBlock
from common.errors import RemoteProtocolError


def propose_keys(secrets: list[SecretBlock], mask_index: int, settlement: Settle | None) -> Conversation[int]:
    """Stage and tag first, commit once the peer has done the same.

    Parameters
    ----------
    secrets : list[SecretBlock]
        The keys of a group, at least one.
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
        If the peer takes another mask or commits other lengths.
    """
    yield from persist(TakeMask(mask_index))
    yield from persist(_staged(secrets))
    sealed = yield from seal_transcript(mask_index)
    yield from send(TranscriptTag(mask_index, sealed.tag))
    theirs = yield from receive(TranscriptTag)
    _check_index(theirs.mask_index, mask_index)
    yield from check_transcript(mask_index, theirs.tag)
    if settlement:
        yield from persist(settlement)
    yield from persist(_committed(secrets))
    yield from send(KeyCommit(_lengths(secrets)))
    _check_lengths((yield from receive(KeyCommitted)).secret_bits, secrets)
    return sealed.count_bytes


def confirm_keys(secrets: list[SecretBlock], mask_index: int, settlement: Settle | None) -> Conversation[int]:
    """Check the peer's tag, then stage and tag, then commit; the other half of ``propose_keys``, whose errors it shares.

    Parameters
    ----------
    secrets : list[SecretBlock]
        The keys of a group, at least one.
    mask_index : int
        First mask pair that neither end has used.
    settlement : Settle | None
        What the greeting left to settle.

    Returns
    -------
    int
        Transcript bytes our tag covers.
    """
    theirs = yield from receive(TranscriptTag)
    _check_index(theirs.mask_index, mask_index)
    yield from persist(TakeMask(mask_index))
    yield from check_transcript(mask_index, theirs.tag)
    if settlement:
        yield from persist(settlement)
    yield from persist(_staged(secrets))
    sealed = yield from seal_transcript(mask_index)
    yield from send(TranscriptTag(mask_index, sealed.tag))
    _check_lengths((yield from receive(KeyCommit)).secret_bits, secrets)
    yield from persist(_committed(secrets))
    yield from send(KeyCommitted(_lengths(secrets)))
    return sealed.count_bytes


def _staged(secrets: list[SecretBlock]) -> StageKeys:
    return StageKeys({secret.block.number: secret.key for secret in secrets})


def _committed(secrets: list[SecretBlock]) -> CommitKeys:
    return CommitKeys(tuple(secret.block.number for secret in secrets))


def _lengths(secrets: list[SecretBlock]) -> tuple[int, ...]:
    return tuple(secret.length.secret_bits for secret in secrets)


def _check_index(theirs: int, ours: int) -> None:
    if theirs != ours:
        raise RemoteProtocolError(f"the peer takes mask {theirs}, due is {ours}: masks are never used twice or out of turn")


def _check_lengths(theirs: tuple[int, ...], secrets: list[SecretBlock]) -> None:
    if theirs != _lengths(secrets):
        raise RemoteProtocolError("the peer commits keys of other lengths")
