"""Both methods: accounts alike at both ends, segments that fail, batches of nothing and of next to nothing, and answers that do not fit."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from common.bits import Bits
from common.channel.messages import ParityQuery, ParityReply, ReconciliationOutcome, SegmentTags, Syndrome, SyndromeIncrement
from common.conversation.rehearsal import rehearse
from common.distillation.recipe import Recipe
from common.distillation.reconciliation.effort import EFFORTS
from common.distillation.reconciliation.ldpc import correct_by_syndromes, send_syndromes
from common.distillation.reconciliation.methods import METHODS
from common.distillation.reconciliation.segments import TAG_BITS, Segments, check_tags, send_tags
from common.errors import ConfigurationError, RemoteProtocolError
from common.leakage import Leakage
from common.profiles.link import load_profile
from common.security.entropy import binary_entropy
from tests.support.blocks import key_bits, noisy, with_errors
from tests.support.links import tiny_recipe

RECIPES = {method: tiny_recipe(method) for method in METHODS}


def reconciled(method, key, other, qber, rule="reference half"):
    halves, recipe = METHODS[method], dataclasses.replace(RECIPES[method], leakage_rule=rule)
    (ours,), (theirs,), said = rehearse(halves.reference(recipe, qber, [key]), halves.correcting(recipe, qber, [other]))
    return ours, theirs, said


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("count", "qber"), [(1, 0.01), (2, 0.05), (63, 0.03), (1000, 0.01), (5000, 0.03), (30_000, 0.02)])
def test_both_ends_keep_the_same_bits_and_charge_the_same(method, count, qber):
    key = key_bits(count)
    ours, theirs, _ = reconciled(method, key, noisy(key, qber if count > 60 else 0), max(qber, 0.01))

    assert ours.key.bits == theirs.key.bits
    assert ours.key.bases == theirs.key.bases
    assert ours.leakage == theirs.leakage
    assert (ours.count_key, ours.corrected, ours.count_segments, ours.count_failed) == (
        theirs.count_key,
        theirs.corrected,
        theirs.count_segments,
        theirs.count_failed,
    )
    assert sum(ours.count_key) == count
    assert ours.leakage.items["segment tags"] == TAG_BITS * ours.count_segments


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [0.02, 0.5])
def test_a_proof_that_charges_both_halves_has_every_bit_of_the_correcting_half_charged(method, bad):
    key = key_bits(4096)
    other = with_errors(key, np.flatnonzero(np.random.default_rng(8).random(4096) < bad))
    free, _, _ = reconciled(method, key, other, 0.02)
    ours, theirs, said = reconciled(method, key, other, 0.02, "both halves")
    answers = sum(message.count_bits for message in said if isinstance(message, ParityQuery))
    answers += sum(message.count_segments for message in said if isinstance(message, ReconciliationOutcome))
    answers += sum(count.bit_length() for count in key.per_basis)

    assert ours.leakage == theirs.leakage
    assert ours.leakage.items == free.leakage.items | {"answers": answers}


@pytest.mark.parametrize("method", METHODS)
def test_errors_are_counted_by_basis_where_they_were(method):
    key = key_bits(3000)
    positions = np.array([1, 500, 501, 2000, 2999])
    bases = key.bases.to_flags()[positions]
    ours, theirs, _ = reconciled(method, key, with_errors(key, positions), 0.01)

    assert ours.corrected == theirs.corrected == (int((bases == 0).sum()), int((bases == 1).sum()))
    assert ours.key.bits == key.bits


@pytest.mark.parametrize("method", METHODS)
def test_hopeless_segments_are_left_out_at_both_ends_and_counted(method):
    """A batch whose first half is random: nothing reconciles it, and its neighbours survive where segments are short enough."""
    key = key_bits(20_000)
    other = with_errors(key, np.flatnonzero(np.random.default_rng(7).random(8000) < 0.5))
    ours, theirs, _ = reconciled(method, key, other, 0.01)

    assert ours.key.bits == theirs.key.bits
    assert ours.leakage == theirs.leakage
    assert ours.count_failed == theirs.count_failed
    assert sum(ours.count_key) == 20_000


def test_a_segment_that_looks_corrected_and_is_not_fails_by_its_tag():
    key = key_bits(1000)
    segments = Segments.cut(key, 250)
    wrong = segments.rows()
    wrong[2, 7] ^= 1
    gave_up = np.array([True, False, False, False])
    changed = [Bits.from_flags(wrong.reshape(-1))]
    (ours,), (theirs,), said = rehearse(
        send_tags(RECIPES["ldpc"], [segments], [Leakage()]),
        check_tags(RECIPES["ldpc"], [segments], changed, gave_up, [Leakage()]),
    )

    assert ours.key.bits == theirs.key.bits
    assert ours.count_failed == theirs.count_failed == 2
    assert ours.key.bits.count == 500
    assert [type(message) for message in said] == [SegmentTags, ReconciliationOutcome]


def answer_to(half: Any, *answers):
    """Carry a half on, feeding it answers where it receives; draws give zeros."""
    left = list(answers)
    effect = next(half)
    while True:
        match type(effect).__name__:
            case "Compute":
                effect = half.send(effect.function(*effect.arguments))
            case "Draw":
                effect = half.send(bytes(effect.count_bytes))
            case "Send":
                effect = half.send(None)
            case "Receive":
                effect = half.send(left.pop(0))


OUTCOME = ReconciliationOutcome(1, b"\0", (0,), (0,))

MISFITS = {
    "syndrome under another code": ("ldpc", "correcting", Syndrome(99, 1, 500, 0, b"")),
    "syndrome of another number of segments": ("ldpc", "correcting", Syndrome(0, 2**32 - 1, 500, 0, b"")),
    "outcome of another number of segments": ("ldpc", "reference", ReconciliationOutcome(9, bytes(2), (), ())),
    "outcome with padding set": ("ldpc", "reference", ReconciliationOutcome(1, b"\2", (), ())),
    "parities of another number": ("cascade", "correcting", ParityReply(2**32 - 1, b"")),
    "parities too short": ("cascade", "correcting", ParityReply(8, b"")),
    "answers of another number": ("cascade", "reference", ParityQuery(1, b"\0")),
}


@pytest.mark.parametrize("name", MISFITS)
def test_an_answer_that_does_not_fit_is_refused(name):
    method, half, answer = MISFITS[name]
    with pytest.raises(RemoteProtocolError):
        answer_to(getattr(METHODS[method], half)(RECIPES[method], 0.01, [key_bits(500)]), answer)


@pytest.mark.parametrize(
    "outcome", [dataclasses.replace(OUTCOME, corrected_z=(10**6,)), dataclasses.replace(OUTCOME, corrected_x=(2**62,))]
)
def test_more_errors_than_bits_are_refused(outcome):
    with pytest.raises(RemoteProtocolError, match="more errors corrected"):
        answer_to(send_tags(RECIPES["ldpc"], [Segments.cut(key_bits(100), 100)], [Leakage()]), outcome)


@pytest.mark.parametrize("said", [SegmentTags(2, bytes(16), bytes(4)), SegmentTags(1, bytes(16), bytes(3)), SegmentTags(1, bytes(16), b"")])
def test_tags_that_do_not_fit_are_refused(said):
    segments = Segments.cut(key_bits(100), 100)
    with pytest.raises(RemoteProtocolError, match="tags of"):
        answer_to(check_tags(RECIPES["ldpc"], [segments], [segments.key.bits], np.zeros(1, np.bool_), [Leakage()]), said)


@pytest.mark.parametrize("more", [SyndromeIncrement(1, 1, b""), SyndromeIncrement(0, 2, b""), SyndromeIncrement(0, 1, b"")])
def test_an_increment_that_does_not_fit_is_refused(more):
    key = key_bits(3000)
    halves = METHODS["ldpc"]
    recipe = RECIPES["ldpc"]
    reference: Any = halves.reference(recipe, 0.01, [key])
    effect = next(reference)
    while not hasattr(effect, "message"):
        effect = reference.send(effect.function(*effect.arguments) if hasattr(effect, "function") else bytes(effect.count_bytes))
    random = with_errors(key, np.flatnonzero(np.random.default_rng(1).random(3000) < 0.5))
    with pytest.raises(RemoteProtocolError):
        answer_to(halves.correcting(recipe, 0.01, [random]), effect.message, more)


@pytest.mark.parametrize("method", METHODS)
def test_blocks_reconciled_together_are_charged_each_its_own(method):
    keys = [key_bits(count, count) for count in (3000, 1, 7000, 5123)]
    others = [noisy(key, 0.02, seed) if key.bits.count > 1 else key for seed, key in enumerate(keys)]
    others[2] = with_errors(keys[2], np.flatnonzero(np.random.default_rng(7).random(7000) < 0.5))
    recipe = dataclasses.replace(RECIPES[method], leakage_rule="both halves")
    ours, theirs, said = rehearse(METHODS[method].reference(recipe, 0.02, keys), METHODS[method].correcting(recipe, 0.02, others))

    assert len(ours) == len(theirs) == len(keys)
    for key, mine, yours in zip(keys, ours, theirs, strict=True):
        assert mine.key.bits == yours.key.bits
        assert (mine.leakage, mine.count_key, mine.corrected, mine.count_failed) == (
            yours.leakage,
            yours.count_key,
            yours.corrected,
            yours.count_failed,
        )
        assert mine.count_key == key.per_basis
    for number in (0, 1, 3):
        assert ours[number].key.bits == keys[number].bits
    if method == "cascade":
        parities = sum(message.count_bits for message in said if isinstance(message, ParityReply))
        assert sum(mine.leakage.items["parities"] for mine in ours) == parities


def test_an_outcome_about_another_number_of_blocks_is_refused():
    outcome = dataclasses.replace(OUTCOME, corrected_z=(0, 0), corrected_x=(0, 0))
    with pytest.raises(RemoteProtocolError, match="errors of 2 blocks"):
        answer_to(send_tags(RECIPES["ldpc"], [Segments.cut(key_bits(100), 100)], [Leakage()]), outcome)


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("count", [5000, 70_000])
def test_both_ends_lay_out_and_decode_by_the_effort_of_the_recipe(effort, count):
    recipe, key = dataclasses.replace(RECIPES["ldpc"], effort=EFFORTS[effort], segment_bits=1 << 20), key_bits(count)
    halves = send_syndromes(recipe, 0.03, [key]), correct_by_syndromes(recipe, 0.03, [noisy(key, 0.03)])
    (ours,), (theirs,), _ = rehearse(*halves)

    assert ours.key.bits == theirs.key.bits == key.bits
    assert ours.leakage == theirs.leakage


def test_more_effort_leaks_less_in_the_conversation_too():
    """A fixed seed. One codeword of 1,024,000 bits, beside four of 256,000."""
    key, other, charged = key_bits(990_000), noisy(key_bits(990_000), 0.05), {}
    for name in ("fast", "standard", "thorough"):
        recipe = tiny_recipe("ldpc", "direct", 1500, "reconciliation.segment_bits=1048576", f"reconciliation.effort={name}")
        (ours,), (theirs,), _ = rehearse(send_syndromes(recipe, 0.05, [key]), correct_by_syndromes(recipe, 0.05, [other]))
        assert ours.key.bits == theirs.key.bits == key.bits
        charged[name] = sum(ours.leakage.items.values()) / (key.bits.count * binary_entropy(0.05))

    assert charged["fast"] > charged["standard"] > charged["thorough"]
    assert charged["thorough"] < 1.08


def test_ends_of_different_efforts_do_not_agree_and_no_other_effort_exists():
    fast, thorough = (Recipe.of(load_profile("niedersachsen", [f"reconciliation.effort={name}"])) for name in ("fast", "thorough"))

    assert fast.digest != thorough.digest
    assert (fast.effort, thorough.effort) == (EFFORTS["fast"], EFFORTS["thorough"])
    with pytest.raises(ConfigurationError, match=r"reconciliation\.effort"):
        load_profile("niedersachsen", ["reconciliation.effort=heroic"])
