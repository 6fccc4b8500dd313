"""Every published figure stands beside what the formulas give, and every difference has a reason."""

from dataclasses import replace
from math import e

import pytest

from common.errors import ConfigurationError
from common.planning.composable_link import best_composable, point_for_detections, with_block, with_qber
from common.planning.link_model import link_model
from common.planning.published import (
    BLOCK_DETECTIONS,
    CODE_RATE,
    RUNS,
    SINGLE_SHARE,
    clicks_wanted,
    hefei_composable,
    hefei_link,
    hefei_paper,
    largest_g2_beyond_laser,
    niedersachsen_composable,
    niedersachsen_link,
    power_of_ten,
    published_figures,
)
from common.planning.rate import rate_point
from common.planning.settings import with_entries, with_source
from common.planning.single_photon_link import SinglePhotonLink, optimised, tolerable_loss_db
from common.profiles.link import load_profile
from common.security.proofs.single_photon_paper import hbn_length

ROWS = [figure.to_json() for figure in published_figures()]


def row(system, what, unit):
    return next(entry for entry in ROWS if (entry["system"], entry["what"], entry["unit"]) == (system, what, unit))


@pytest.mark.parametrize("figure", published_figures(), ids=lambda figure: f"{figure.system}, {figure.what}, {figure.unit}")
def test_a_figure_that_is_not_reproduced_says_why(figure):
    values = [value() for value in (figure.formula, figure.composable) if value]
    assert figure.reason or (values and all(map(figure.agrees, values)))


def test_every_system_is_there_with_all_of_its_figures():
    counted = {system: sum(entry["system"] == system for entry in ROWS) for system in {entry["system"] for entry in ROWS}}
    assert counted == {"niedersachsen": 11, "hefei": 8, "timebin-120km": 3, "hbn": 6}
    printed = {entry["published"] for entry in ROWS}
    assert {28.11, 143.7, 4.80e-5, 4.64e-5, 2.35e-5, 1.87e-5, 10.93, 5.35, 0.65, 1.04, 35.0} <= printed
    assert {1 / e, e / 4, 5.65e-2, 1.69e-2, 1.08e-3, 4.30, 1.29, 82.0, 15.0, 11.0, 6.0, 33176.0, 68516.0, 0.0} <= printed


@pytest.mark.parametrize(
    ("system", "what", "unit", "formula", "composable"),
    [
        ("niedersachsen", "maximum tolerable loss, endless block", "dB", 27.987, None),
        ("niedersachsen", "25.49 dB, endless block, with filter", "bit/pulse", 1.927e-5, None),
        ("niedersachsen", "25.49 dB, finite block, with filter", "bit/pulse", 9.63e-6, 9.764e-6),
        ("hefei", "0.17 dB, laboratory", "bit/pulse", 6.03e-2, 4.863e-2),
        ("hefei", "5.11 dB, laboratory", "bit/pulse", 1.876e-2, 1.664e-2),
        ("hefei", "14.6 dB, field", "bit/pulse", 1.425e-3, 1.402e-3),
        ("hefei", "14.6 dB, field", "kbit/s", 108.5, 106.8),
        ("hbn", "run 1: 1e6 raw bits, QBER 0.07", "bit", 59250, 100499),
        ("hbn", "run 2: 1e6 raw bits, QBER 0.06", "bit", 96290, 138864),
        ("hbn", "run 6: 1e4 raw bits, QBER 0.08", "bit", 0, 0),
    ],
)
def test_formulas_give_what_the_published_parameters_imply(system, what, unit, formula, composable):
    found = row(system, what, unit)
    assert found["formula"] == pytest.approx(formula, rel=2e-3)
    assert found["composable"] == (None if composable is None else pytest.approx(composable, rel=2e-3))


def test_the_sentences_of_the_reasons_hold():
    """Rounding, missing clicks, the loss of the field link, the finite-size term of run 2, and the QBER that leaves run 4 nothing."""
    link = niedersachsen_link()
    best = replace(link, g2=0.02425, mean_photon_number=0.1375 * 0.4635, receiver=0.7405**2, dark=8.735e-7, misalignment=2.565e-4)
    assert tolerable_loss_db(best) == pytest.approx(28.02, abs=0.005)
    assert clicks_wanted() == pytest.approx(1.66, abs=0.005)
    assert hefei_paper(15.7) == pytest.approx(9.5e-4, rel=5e-3)
    second = hbn_length(10**6, 10**6, 0.06, SINGLE_SHARE, CODE_RATE)
    assert second.terms["finite size"] == pytest.approx(-42128, abs=1)
    assert 0.95 < -second.terms["finite size"] / (RUNS[1].composable_bits() - second.bits) < 1.0
    assert RUNS[3].paper_bits() > hbn_length(10**5, 10**5, 0.0505, 0.985, 0.5).bits == 0.0


def test_the_qber_of_the_time_bin_link_stays_below_the_printed_limit():
    assert row("timebin-120km", "120 km, average QBER", "%")["formula"] < 11.0
    assert largest_g2_beyond_laser() == pytest.approx(e / 4, rel=1e-10)


# ------------------------------------------------------------------------------------------------------- the textbook link


@pytest.mark.parametrize("name", ["niedersachsen", "hefei"])
@pytest.mark.parametrize("pulses", [10**9, 10**12])
def test_the_formula_gives_what_the_planner_gives(name, pulses):
    """The counts of the two differ by rounding, one or two each."""
    profile = with_block(load_profile(name), pulses)
    point = rate_point(profile, mode="paper")
    assert point.pulses == pulses
    assert SinglePhotonLink.of(profile).paper_bits(pulses) == pytest.approx(point.secret_bits, rel=2e-4)
    assert SinglePhotonLink.of(profile).asymptotic == pytest.approx(
        rate_point(profile, mode="paper", asymptotic=True).secret_bits_per_pulse
    )


def test_rates_fall_with_loss_and_end_at_the_tolerable_loss():
    link = niedersachsen_link()
    rates = [replace(link, loss_db=loss).asymptotic for loss in (0.0, 10.0, 20.0, 27.0)]
    assert rates == sorted(rates, reverse=True)
    end = tolerable_loss_db(link)
    assert replace(link, loss_db=end - 0.01).asymptotic > 0.0 == replace(link, loss_db=end + 0.01).asymptotic
    assert tolerable_loss_db(link, 10**9) < tolerable_loss_db(link, 10**12) < end


@pytest.mark.parametrize("loss_db", [5.11, 24.0])
def test_bias_and_attenuation_are_as_good_as_the_best_of_a_grid(loss_db):
    plain = replace(SinglePhotonLink.of(load_profile("hefei")), loss_db=loss_db)
    best = hefei_link(loss_db)
    pulses = best.pulses_for(BLOCK_DETECTIONS)
    tried = [
        replace(plain, mean_photon_number=plain.mean_photon_number * share, probability_z_alice=bias)
        for share in (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
        for bias in (0.8, 0.9, 0.95, 0.97, 0.99)
    ]
    grid = max(at.paper_bits(at.pulses_for(BLOCK_DETECTIONS)) / at.pulses_for(BLOCK_DETECTIONS) for at in tried)
    assert best.paper_bits(pulses) / pulses >= 0.999 * grid
    assert best.mean_photon_number <= plain.mean_photon_number


def test_a_link_without_key_still_knows_how_far_it_is_from_some():
    link = replace(SinglePhotonLink.of(load_profile("hefei")), loss_db=20.0, g2=0.45, mean_photon_number=0.9)
    best = optimised(link, BLOCK_DETECTIONS)
    assert link.balance(10**9) < 0.0 < best.balance(best.pulses_for(BLOCK_DETECTIONS))
    assert power_of_ten(1e8) == "1e8"


@pytest.mark.parametrize(("name", "message"), [("decoy", "protocol = 'bb84-decoy'"), ("timebin-120km", "time-bin")])
def test_a_link_that_is_not_meant_is_refused_by_name(name, message):
    profile = load_profile(name)
    if name == "timebin-120km":
        profile = with_source(profile, "single-photon")
    with pytest.raises(ConfigurationError, match=message):
        SinglePhotonLink.of(profile)


# ------------------------------------------------------------------------------------------------------ the composable link


def test_the_composable_value_is_the_planners_with_the_profiles_own_receiver():
    profile = load_profile("niedersachsen")
    assert profile.receiver.basis_choice == load_profile("hefei").receiver.basis_choice == "passive"
    assert niedersachsen_composable(10**10) == rate_point(with_block(profile, 10**10)).secret_bits_per_pulse
    active = with_block(with_entries(profile, {"receiver.basis_choice": "active"}), 10**10)
    assert niedersachsen_composable(10**10) < rate_point(active).secret_bits_per_pulse


def test_composable_bias_and_attenuation_are_as_good_as_the_best_of_a_grid():
    profile = with_entries(load_profile("hefei"), {"channel.loss_db": 5.11, "channel.fading_sigma_db": 0.0})
    tried = [
        with_entries(profile, {"source.pre_attenuation": share, "source.probability_z": bias})
        for share in (0.2, 0.5, 0.9, 1.0)
        for bias in (0.85, 0.9, 0.91, 0.93, 0.96)
    ]
    grid = max(point_for_detections(at, BLOCK_DETECTIONS).secret_bits_per_pulse for at in tried)
    assert grid < 1.001 * hefei_composable(5.11)


def test_a_block_of_detections_holds_them_and_a_link_without_key_is_none():
    profile = load_profile("hefei")
    point = point_for_detections(profile, BLOCK_DETECTIONS)
    assert point.pulses is not None
    assert point.pulses * point.detection_probability == pytest.approx(BLOCK_DETECTIONS, rel=1e-6)
    assert best_composable(with_entries(profile, {"channel.loss_db": 45.0}), 1e6).secret_bits_per_pulse == 0.0


def test_a_measured_qber_is_what_the_link_model_expects():
    assert link_model(with_qber(load_profile("niedersachsen"), 0.0104)).z.qber == pytest.approx(0.0104, rel=1e-6)
