"""A mean block by the live formula, and the counts it is made of, for every protocol."""

from dataclasses import replace
from math import fsum

import pytest

from common.distillation.reconciliation.cascade_efficiency import cascade_efficiency
from common.errors import ConfigurationError
from common.planning.counts import expected_counts, pulses_for_block, x_click_shares
from common.planning.expected import expected_block
from common.planning.leakage import answer_share, expected_efficiency, expected_leakage, expected_method
from common.planning.link_model import link_model
from common.planning.settings import with_source
from common.planning.textbook import textbook_model
from common.profiles.link import load_profile
from common.security.entropy import binary_entropy
from common.security.proofs.deciding import decoy_counts, three_state_decoy_counts
from common.security.proofs.registry import require_composable

LINKS = ("decoy", "hbn", "hefei", "niedersachsen", "timebin-120km")


@pytest.mark.parametrize("name", LINKS)
def test_a_mean_block_of_every_link_makes_key_by_the_live_formula(name):
    profile = load_profile(name)
    block = expected_block(profile)
    assert block.key.secret_bits > 20_000
    assert fsum(block.key.ledger.values()) == block.key.secret_bits
    assert block.counts.z.key + block.counts.x.key >= profile.security.block_bits
    assert block.counts.pulses % profile.security.frame_pulses == 0
    assert block.secret_bits_per_pulse == block.key.secret_bits / block.counts.pulses
    assert block.seconds == block.counts.pulses / profile.source.clock_hz


def test_counts_follow_the_test_fractions():
    counts = expected_counts(load_profile("hbn", ["security.test_fraction=0.25"]), 10**9)
    assert counts.z.tested == pytest.approx(counts.z.key / 3.0, rel=1e-4)
    assert counts.x.errors == pytest.approx(counts.x.tested * 0.0606, rel=1e-2)
    assert counts.z.kept == counts.z.key
    assert counts.frames == 1000


def test_a_block_ends_at_the_maximum_number_of_frames():
    assert pulses_for_block(load_profile("hbn", ["security.maximum_frames=7"])) == 7 * 10**6


def test_three_state_counts_hold_every_click_in_x():
    profile = load_profile("hefei")
    counts, model = expected_counts(profile, 10**9), link_model(profile)
    clicks = {entry: sum(shares) for entry, shares in x_click_shares(model).items()}
    assert counts.table[2][2] == round(1e9 * clicks["X0", 0])
    assert counts.table[0][2] == pytest.approx(counts.table[0][3], rel=1e-3)  # of a state of Z, X tells nothing
    assert counts.table[0][0] == counts.table[1][1] == 0  # key bits are not disclosed
    assert counts.x.tested == pytest.approx(counts.table[2][2] + counts.table[2][3], abs=1)


def test_decoy_counts_add_up_over_the_intensities():
    profile = load_profile("decoy", ["security.test_fraction=0.1", "receiver.basis_choice=passive"])
    model = link_model(profile)
    together = expected_counts(profile, 10**9, model)
    apart = decoy_counts(together, 3)
    assert sum(apart.key) == pytest.approx(together.z.key, abs=3)
    assert sum(apart.tested) == pytest.approx(together.x.tested, abs=3)
    assert sum(apart.errors) == pytest.approx(together.x.errors, abs=3)
    assert sum(apart.key_errors) == pytest.approx(together.z.key * model.z.qber, abs=3)
    assert apart.key[0] > apart.key[1] > apart.key[2] > 0
    assert apart.cross_clicks == together.cross_clicks > 0


def test_three_state_decoy_counts_agree_with_the_table():
    profile = with_source(load_profile("hefei"), "decoy")
    model = link_model(profile)
    together = expected_counts(profile, 10**9, model)
    apart = three_state_decoy_counts(together, 3)
    shares = x_click_shares(model)
    for entry, counts in apart.clicks.items():
        assert counts == tuple(round(1e9 * share) for share in shares[entry])
    assert sum(apart.key) == pytest.approx(together.z.key, abs=3)


def test_answers_are_charged_where_the_proof_keeps_the_error_pattern():
    profile = load_profile("timebin-120km", ["reconciliation.method=cascade"])
    model = link_model(profile)
    counts = expected_counts(profile, 10**11, model)
    answers = answer_share(profile, require_composable(profile.protocol, profile.security.proof))
    items = expected_leakage(counts, model, 1.16, answers).items
    assert items["answers"] == items["reconciliation"] == pytest.approx(1.16 * counts.z.kept * binary_entropy(model.z.qber), abs=1)
    assert expected_block(profile).key.secret_bits < expected_block(load_profile("timebin-120km")).key.secret_bits
    bb84 = load_profile("niedersachsen")
    assert answer_share(bb84, require_composable("bb84", bb84.security.proof)) == 0.0


def test_cascade_is_expected_to_leak_what_it_was_measured_to_leak():
    profile = load_profile("niedersachsen")
    model = link_model(profile)
    counts = expected_counts(profile, 10**11, model)

    assert expected_efficiency(profile, model) == pytest.approx(cascade_efficiency(model.z.qber), rel=5e-3)
    assert expected_efficiency(profile, model, counts) == cascade_efficiency(model.z.qber, counts.z.kept + counts.x.kept)
    assert expected_efficiency(load_profile("niedersachsen", ["reconciliation.segment_bits=2048"]), model) > 1.2


@pytest.mark.parametrize(("link", "method"), [("niedersachsen", "cascade"), ("timebin-120km", "ldpc")])
def test_a_method_left_open_is_planned_as_near_nodes_would_choose(link, method):
    """The proof of ``timebin-120km`` charges Cascade's answers as well."""
    auto, named = (load_profile(link, [f"reconciliation.method={name}"]) for name in ("auto", method))
    model = link_model(named)

    assert expected_method(auto) == method
    assert expected_efficiency(auto, model) == expected_efficiency(named, model)
    assert answer_share(auto, require_composable(auto.protocol, auto.security.proof)) == 0.0


def test_the_textbook_channel_is_the_link_without_what_it_leaves_out():
    """Short pulses, no dead time, no fading: only coincidences are left between the two models."""
    plain = ["source.lifetime_ps=0", "receiver.jitter_ps=0", "receiver.dead_time_ps=0"]
    for name, changes in (("niedersachsen", plain), ("decoy", plain), ("hefei", [*plain, "channel.fading_sigma_db=0"])):
        profile = load_profile(name, changes)
        full, textbook = link_model(profile), textbook_model(profile)
        assert full.probability_detection + full.probability_cross == pytest.approx(textbook.probability_detection, rel=1e-2)
        assert full.z.qber == pytest.approx(textbook.z.qber, rel=1e-2, abs=1e-4)
        assert full.probability_multi_photon == pytest.approx(textbook.probability_multi_photon, rel=1e-9)


def test_what_cannot_be_planned_is_refused():
    with pytest.raises(ConfigurationError, match="no key bit"):
        pulses_for_block(load_profile("hbn", ["receiver.efficiency=0.0", "receiver.dark_rate_hz=0.0"]))
    with pytest.raises(ConfigurationError, match="efficiency"):
        expected_block(load_profile("hbn"), reconciliation_efficiency=0.9)
    with pytest.raises(ConfigurationError, match=r"security.block_bits = 0"):
        pulses_for_block(load_profile("hbn"), block_bits=0)
    profile = load_profile("hbn")
    paper = replace(profile, security=replace(profile.security, proof="niedersachsen"))
    with pytest.raises(ConfigurationError, match="makes no key"):
        expected_block(paper)
