"""The planner's answer: every link, both modes, finite and endless; its ledger, its limits and what it refuses."""

import json
from dataclasses import replace
from math import fsum

import pytest

from common.errors import ConfigurationError
from common.planning.expected import expected_block
from common.planning.link_model import link_model
from common.planning.rate import compared, rate_point
from common.planning.settings import entries, with_entries, with_source
from common.profiles.link import load_profile
from common.profiles.setting import three_state_setting
from common.security.proofs.single_photon_channel import single_photon_clicks
from common.security.proofs.single_photon_paper import hbn_length

LINKS = ("decoy", "hbn", "hefei", "niedersachsen", "timebin-120km")
CONTRACT = (
    *("link", "source", "protocol", "loss_db", "block_bits", "secret_bits_per_pulse", "secret_bits_per_second", "secret_bits"),
    *("qber", "phase_error_bound", "multi_photon_bound", "detection_probability", "parameters", "proof"),
)

every_link = pytest.mark.parametrize("name", LINKS)
every_mode = pytest.mark.parametrize("mode", ["composable", "paper"])


def laser(name, *settings):
    return with_source(load_profile(name, settings), "decoy")


# ------------------------------------------------------------------------------------------------------- what an answer holds


@every_link
@every_mode
@pytest.mark.parametrize("asymptotic", [False, True], ids=["finite", "endless"])
def test_every_link_has_an_answer_that_adds_up(name, mode, asymptotic):
    profile = load_profile(name)
    point = rate_point(profile, mode=mode, asymptotic=asymptotic)
    shown = json.loads(json.dumps(point.to_json(), allow_nan=False))
    assert set(CONTRACT) <= set(shown)
    assert point.secret_bits_per_pulse > 0.0
    assert point.secret_bits_per_second == pytest.approx(point.secret_bits_per_pulse * profile.source.clock_hz)
    left = point.secret_bits_per_pulse if asymptotic else point.secret_bits
    assert fsum(point.ledger.values()) == pytest.approx(left, rel=1e-12)
    assert 0.0 < shown["phase_error_bound"] < 0.5
    assert 0.0 < shown["multi_photon_bound"] < 1.0
    assert 0.0 < point.qber["Z"] < 0.1
    assert (point.block_bits, point.pulses, point.secret_bits) == (None,) * 3 if asymptotic else shown["pulses"] > 0
    assert point.reason == ""
    assert ("security.block_bits" in point.parameters) != asymptotic


@every_link
@every_mode
def test_no_finite_block_gives_more_than_an_endless_one(name, mode):
    profile = load_profile(name)
    endless = rate_point(profile, mode=mode, asymptotic=True).secret_bits_per_pulse
    rates = [rate_point(profile, mode=mode, block_bits=bits).secret_bits_per_pulse for bits in (10**5, 10**6, 10**7, 10**8)]
    assert rates == sorted(rates)
    assert rates[-1] <= endless


@every_link
def test_a_composable_point_is_the_block_that_the_live_formula_expects(name):
    profile = load_profile(name)
    point, block, model = rate_point(profile), expected_block(profile), link_model(profile)
    assert (point.secret_bits, point.pulses) == (block.key.secret_bits, block.counts.pulses)
    assert point.ledger == block.key.ledger
    assert point.detection_probability == model.probability_detection
    assert point.qber == {"Z": model.z.qber, "X": model.x.qber}


@every_link
@every_mode
def test_more_loss_never_gives_more_key(name, mode):
    profile = load_profile(name)
    for asymptotic in (False, True):
        rates = [
            rate_point(with_entries(profile, {"channel.loss_db": loss}), mode=mode, asymptotic=asymptotic).secret_bits_per_pulse
            for loss in (5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 60.0)
        ]
        assert rates == sorted(rates, reverse=True)
        assert rates[0] > 0.0 == rates[-1]


# ----------------------------------------------------------------------------------------------- what publications calculate


def test_niedersachsen_tolerates_the_loss_of_its_published_parameters():
    """27.99 dB from the parameters, 28.11 dB in the publication."""

    def rate(loss_db):
        profile = load_profile("niedersachsen", [f"channel.loss_db={loss_db}"])
        return rate_point(profile, mode="paper", asymptotic=True).secret_bits_per_pulse

    assert rate(25.49) == pytest.approx(2.07e-5, rel=2e-3)
    assert rate(27.98) > 0.0 == rate(28.0)


def test_large_blocks_approach_the_asymptotic_rate_of_one_basis():
    """X is disclosed whole, so half the published rate; dead time and late photons take the rest."""
    profile = load_profile("niedersachsen", ["security.block_bits=200000000", "security.maximum_frames=1000000"])
    endless = rate_point(profile, mode="paper", asymptotic=True).secret_bits_per_pulse
    assert 0.49 < rate_point(profile, mode="paper").secret_bits_per_pulse / endless < 0.5
    assert 0.47 < rate_point(profile).secret_bits_per_pulse / endless < 0.5


def test_hefei_gives_the_rates_of_its_formula():
    """As in the tests of the proofs: 1.42e-3 at 14.6 dB with 97.5 % of the pulses in Z, without the fading of the link."""
    profile = load_profile("hefei", ["source.probability_z=0.975", "security.block_bits=87750000"])
    assert rate_point(profile, mode="paper").secret_bits_per_pulse == pytest.approx(1.42e-3, rel=3e-3)
    assert rate_point(with_entries(profile, {"channel.loss_db": 0.17}), mode="paper").secret_bits_per_pulse == pytest.approx(
        6.03e-2, rel=3e-3
    )


def test_hbn_pools_its_bases_and_leaks_what_its_code_leaks():
    point = rate_point(load_profile("hbn"), mode="paper")
    count = point.ledger["sifted key bits"]
    expected = hbn_length(round(count), round(count), point.qber["Z"], 1.0 - (point.multi_photon_bound or 0.0), 0.5)
    assert point.secret_bits == pytest.approx(expected.bits, rel=1e-3)
    assert point.ledger["leakage, reconciliation"] == -0.5 * count
    free = rate_point(load_profile("hbn", ["reconciliation.code_rate=0.6"]), mode="paper")
    assert free.ledger["leakage, reconciliation"] == pytest.approx(-0.4 * count)


def test_paper_points_come_from_the_textbook_channel():
    profile = load_profile("niedersachsen")
    clicks = single_photon_clicks(0.138 * 0.464, 0.0243, 25.49, 0.74 * 0.74, 8.74e-7, 2.57e-4)
    point = rate_point(profile, mode="paper")
    assert point.detection_probability == pytest.approx(clicks.click)
    assert point.qber["Z"] == pytest.approx(clicks.qber)
    assert (point.channel_model, rate_point(profile).channel_model) == ("textbook", "link")
    assert "receiver.dead_time_ps" in rate_point(profile).parameters.keys() - point.parameters.keys()


@every_link
def test_compared_points_differ_in_nothing_but_the_formula_and_its_leakage(name):
    for asymptotic in (False, True):
        ours, theirs = compared(load_profile(name), asymptotic=asymptotic)
        assert (ours.mode, theirs.mode) == ("composable", "paper")
        assert (ours.detection_probability, ours.qber, ours.pulses) == (theirs.detection_probability, theirs.qber, theirs.pulses)
        if not (asymptotic and name == "niedersachsen"):  # there the publication lets both bases make key
            assert ours.ledger["sifted key bits"] == pytest.approx(theirs.ledger["sifted key bits"])


# ----------------------------------------------------------------------------------------------------------- other sources


@pytest.mark.parametrize(("name", "protocol"), [("niedersachsen", "bb84-decoy"), ("hbn", "bb84-decoy"), ("hefei", "three-state-decoy")])
def test_laser_light_takes_the_place_of_single_photons_on_the_same_link(name, protocol):
    profile = load_profile(name)
    changed = with_source(profile, "decoy")
    assert changed.protocol == protocol
    assert (changed.channel, changed.receiver) == (profile.channel, profile.receiver)
    assert changed.source.clock_hz == profile.source.clock_hz
    assert rate_point(changed).source == "decoy"
    assert with_source(profile, "single-photon") == profile
    assert with_source(changed, "single-photon").protocol == profile.protocol


def test_two_decoys_make_key_in_both_modes_and_one_decoy_too():
    two = laser("niedersachsen")
    one = with_entries(two, {"source.intensities": [0.4, 0.1], "source.probability_intensity": [0.8, 0.2], "security.paper_proof": None})
    for profile, paper in ((two, "lim-2014"), (one, "rusca-2018")):
        for asymptotic in (False, True):
            ours, theirs = (rate_point(profile, mode=mode, asymptotic=asymptotic) for mode in ("composable", "paper"))
            assert min(ours.secret_bits_per_pulse, theirs.secret_bits_per_pulse) > 0.0
            assert (ours.proof, theirs.proof) == ("bb84-decoy", paper)


def test_three_states_of_a_laser_make_key_in_a_balanced_receiver():
    profile = laser("hefei", "receiver.probability_z=0.5", "channel.misalignment=0.005")
    for mode in ("composable", "paper"):
        finite, endless = (rate_point(profile, mode=mode, asymptotic=flag).secret_bits_per_pulse for flag in (False, True))
        assert 0.0 < finite < endless


def test_a_passive_receiver_gives_away_the_clicks_of_several_photons_of_bright_light():
    """With little loss they are more than the test has, so that the loss is better the larger it is."""
    profile = load_profile("decoy", ["receiver.basis_choice=passive"])
    near, far = (rate_point(with_entries(profile, {"channel.loss_db": loss}), asymptotic=True) for loss in (5.0, 20.0))
    assert near.reason == "too-few-tested"
    assert far.secret_bits_per_pulse > near.secret_bits_per_pulse == 0.0


# ---------------------------------------------------------------------------------------------------------- states and notes


def test_states_are_taken_from_the_profile_in_radians():
    profile = load_profile("hefei", ["source.state_angles_deg=[0.0, 179.0, 91.0]", "source.state_uncertainty_deg=0.5"])
    states = three_state_setting(profile).states
    assert states.angles == pytest.approx((0.0, 3.12414, 1.58825), abs=1e-5)
    assert states.uncertainty == pytest.approx(0.00872665, abs=1e-7)
    assert three_state_setting(load_profile("hefei")).states.is_ideal


def test_what_is_not_known_of_the_states_costs_key_and_what_is_claimed_is_said():
    exact = rate_point(load_profile("hefei"))
    doubted = rate_point(load_profile("hefei", ["source.state_uncertainty_deg=0.5"]))
    assert 0.0 < doubted.secret_bits_per_pulse < exact.secret_bits_per_pulse
    assert any("taken as certified exactly" in note for note in exact.notes)
    assert any("certified within 0.5 degrees" in note for note in doubted.notes)
    assert not any("certified" in note for note in rate_point(load_profile("hbn")).notes)


def test_a_profile_that_nobody_watches_says_so():
    assert any("no monitor stops the key" in note for note in rate_point(load_profile("recorded")).notes)
    assert not any("monitor" in note for note in rate_point(load_profile("hbn")).notes)


def test_a_block_cut_short_by_the_block_rule_says_so():
    point = rate_point(load_profile("niedersachsen"), block_bits=10**9)
    assert point.block_bits == 10**9 > point.ledger["sifted key bits"]
    assert any("security.maximum_frames = 65536" in note for note in point.notes)


@pytest.mark.parametrize(
    ("name", "settings", "mode", "asymptotic", "bound"),
    [
        ("niedersachsen", ["channel.loss_db=40"], "composable", False, "multi-photon bound: "),
        ("niedersachsen", ["channel.loss_db=40"], "composable", True, "multi-photon bound: all "),
        ("niedersachsen", ["channel.loss_db=40"], "paper", False, "multi-photon bound: no bit or no test"),
        ("niedersachsen", ["channel.loss_db=40"], "paper", True, "multi-photon bound: no bit or no test"),
        ("hbn", ["channel.misalignment=0.4"], "composable", False, "leakage exceeds entropy: "),
        ("hbn", ["channel.misalignment=0.4"], "composable", True, "leakage exceeds entropy: "),
        ("hefei", ["channel.misalignment=0.45"], "paper", False, "phase-error bound: the ratio"),
    ],
)
def test_no_key_comes_with_the_bound_that_failed(name, settings, mode, asymptotic, bound):
    point = rate_point(load_profile(name, settings), mode=mode, asymptotic=asymptotic)
    assert point.secret_bits_per_pulse == 0.0
    assert point.bound.startswith(bound)
    assert point.reason.replace("-", " ") == bound.partition(":")[0].replace("-", " ")
    assert fsum(point.ledger.values()) == pytest.approx(0.0, abs=1e-6)
    assert "not distilled" in point.ledger


@pytest.mark.parametrize("asymptotic", [False, True], ids=["finite", "endless"])
def test_a_publication_bounds_no_phase_error_where_no_untagged_bit_is_left(asymptotic):
    point = rate_point(load_profile("niedersachsen", ["channel.loss_db=40"]), mode="paper", asymptotic=asymptotic)
    assert (point.phase_error_bound, point.multi_photon_bound) == (None, 1.0)


@pytest.mark.parametrize("asymptotic", [False, True], ids=["finite", "endless"])
def test_a_phase_error_bound_of_more_than_half_is_shown_as_it_is(asymptotic):
    point = rate_point(load_profile("hefei", ["channel.misalignment=0.49"]), mode="paper", asymptotic=asymptotic)
    assert 0.5 < (point.phase_error_bound or 0.0) <= 1.0
    assert point.secret_bits_per_pulse == 0.0


@pytest.mark.parametrize("asymptotic", [False, True], ids=["finite", "endless"])
def test_publications_take_empty_pulses_for_key(asymptotic):
    point = rate_point(load_profile("decoy", ["receiver.dark_rate_hz=1e6"]), mode="paper", asymptotic=asymptotic)
    ledger = point.ledger
    kept = ledger["sifted key bits"] + ledger["multi-photon Z"] + ledger["empty pulses"]
    assert ledger["empty pulses"] > 0.0
    assert point.multi_photon_bound == pytest.approx(1.0 - kept / ledger["sifted key bits"])


# --------------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("mode", ["composable", "paper"])
def test_more_light_than_single_photons_can_be_is_refused(mode):
    with pytest.raises(ConfigurationError, match=r"source.mean_photon_number"):
        rate_point(load_profile("hbn", ["source.mean_photon_number=1.5"]), mode=mode)


def test_a_proof_of_the_wrong_kind_is_refused():
    profile = load_profile("hbn")
    publication = replace(profile, security=replace(profile.security, proof="hbn"))
    with pytest.raises(ConfigurationError, match=r"security.proof = 'hbn' reproduces a publication"):
        rate_point(publication)
    for name, said in (
        ("bb84-single-photon", "security.paper_proof = 'bb84-single-photon' is no publication's formula"),
        ("hefei", "does not fit protocol = 'bb84'"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            rate_point(replace(profile, security=replace(profile.security, paper_proof=name)), mode="paper")
    with pytest.raises(ConfigurationError, match="proof 'wishful'"):
        rate_point(profile, mode="wishful")  # type: ignore[arg-type]


def test_formulas_of_other_numbers_of_decoys_are_refused():
    two = laser("niedersachsen")
    with pytest.raises(ConfigurationError, match=r"security.paper_proof = 'rusca-2018': it needs 2 intensities"):
        rate_point(with_entries(two, {"security.paper_proof": "rusca-2018"}), mode="paper")
    one = {"source.intensities": [0.4, 0.1], "source.probability_intensity": [0.8, 0.2], "security.paper_proof": None}
    three_states = with_entries(laser("hefei"), one)
    with pytest.raises(ConfigurationError, match=r"source\.intensities"):
        rate_point(three_states, mode="paper", asymptotic=True)
    for asymptotic in (False, True):
        with pytest.raises(ConfigurationError, match=r"source\.intensities"):
            rate_point(three_states, asymptotic=asymptotic)


def test_an_endless_block_has_no_length():
    with pytest.raises(ConfigurationError, match=r"security.block_bits = 100"):
        rate_point(load_profile("hbn"), asymptotic=True, block_bits=100)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"channel.loss_db": -1.0}, "channel.loss_db: "),
        ({"channel.loss_db": float("nan")}, "channel.loss_db: "),
        ({"source.g2": 1.2}, "source.g2: "),
        ({"channel.lost_db": 1.0}, "channel.lost_db: no entry"),
        ({"security.proof": "bb84-decoy"}, "security.proof = 'bb84-decoy' does not fit"),
        ({"protocol": "b92"}, "protocol: "),
        ({"source.kind": "weak-coherent"}, "source.kind = 'weak-coherent' does not fit"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_changed_entry_is_checked_like_a_profile(changes, said):
    with pytest.raises(ConfigurationError) as refused:
        with_entries(load_profile("hbn"), changes)
    assert said in str(refused.value)


def test_entries_are_known_by_the_names_of_the_profile():
    profile = load_profile("hbn")
    assert entries(profile)["channel.misalignment"] == 0.06
    assert with_entries(profile, {}) == profile
    with pytest.raises(ConfigurationError, match="source 'lamp'"):
        with_source(profile, "lamp")  # type: ignore[arg-type]
