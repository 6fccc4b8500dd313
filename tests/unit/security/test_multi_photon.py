"""The multi-photon bound of a source, and what passive receivers may hide."""

from math import comb

import pytest

from common.errors import ConfigurationError
from common.security.multi_photon import (
    both_ports_probability,
    cross_probability,
    hidden_click_bound,
    multi_click_bound,
    source_multi_photon,
)


def test_a_pulse_holds_two_photons_with_half_g2_times_the_squared_mean():
    assert source_multi_photon(0.138, 0.0, 0.0243, 0.0, 1.0, 0.464, 1.0) == pytest.approx(0.0243 * (0.138 * 0.464) ** 2 / 2)


def test_blinking_enters_squared_and_attenuation_lowers_the_bound():
    plain = source_multi_photon(0.1, 0.0, 0.02, 0.0, 1.0, 1.0, 1.0)
    assert source_multi_photon(0.1, 0.0, 0.02, 0.0, 0.5, 1.0, 1.0) == pytest.approx(4 * plain)
    assert source_multi_photon(0.1, 0.0, 0.02, 0.0, 1.0, 1.0, 0.5) == pytest.approx(plain / 4)


def test_uncertainties_count_three_standard_deviations_unless_told():
    assert source_multi_photon(0.1, 0.01, 0.02, 0.002, 1.0, 1.0, 1.0) == pytest.approx((0.02 + 0.006) * 0.13**2 / 2)
    assert source_multi_photon(0.1, 0.01, 0.02, 0.002, 1.0, 1.0, 1.0, coverage_factor=0.0) == pytest.approx(0.02 * 0.01 / 2)


def test_a_probability_stays_one():
    assert source_multi_photon(10.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0) == 1.0


@pytest.mark.parametrize(
    ("position", "value", "name"),
    [(0, -0.1, "mean_photon_number"), (2, float("nan"), "g2"), (4, 0.0, "on_fraction"), (4, 1.1, "on_fraction"), (5, 2.0, "transmitter")],
)
def test_a_characterisation_out_of_range_is_refused_by_name(position, value, name):
    arguments = [0.1, 0.0, 0.02, 0.0, 1.0, 1.0, 1.0]
    arguments[position] = value
    with pytest.raises(ConfigurationError, match=name):
        source_multi_photon(*arguments)


def test_many_cross_clicks_hide_their_share_of_single_basis_clicks():
    bound = multi_click_bound(10**8, 0.5, 1e-22)
    assert 1.0 < bound / 10**8 < 1.002
    assert multi_click_bound(10**8, 0.1, 1e-22) / 10**8 == pytest.approx(0.82 / 0.18, rel=5e-3)


def test_no_cross_click_still_hides_what_chance_allows():
    assert multi_click_bound(0, 0.5, 1e-22) == 78  # log2(42e22)


def test_multi_click_arguments_out_of_range_are_refused():
    for arguments, name in (((-1, 0.5, 1e-3), "count_cross"), ((1, 1.0, 1e-3), "probability_z"), ((1, 0.5, 0.0), "epsilon")):
        with pytest.raises(ConfigurationError, match=name):
            multi_click_bound(*arguments)


def least_share_with_both_ports(count_photons, probability_z):
    """Worst case of all states: photons of the middle window choose one port together, those of the outer windows cannot choose."""
    share = 0.0
    for outer in range(count_photons + 1):
        chance = comb(count_photons, outer) * probability_z**outer * (1 - probability_z) ** (count_photons - outer)
        ports = 1 if outer < count_photons else 2  # all on the port of the middle ones, or on either
        share += chance * (1 - ports * 0.5**outer)
    return share


@pytest.mark.parametrize("probability_z", [0.1, 0.5, 0.9])
def test_photons_behind_the_interferometer_part_at_least_as_often_as_the_bound_takes_it(probability_z):
    shares = [least_share_with_both_ports(count, probability_z) for count in range(2, 40)]

    assert both_ports_probability(probability_z) == pytest.approx(shares[0], rel=1e-12)
    assert shares == sorted(shares)
    assert both_ports_probability(0.5) == 0.375


def test_both_receivers_are_bounded_by_one_formula():
    assert hidden_click_bound(1000, cross_probability(0.3), 1e-20) == multi_click_bound(1000, 0.3, 1e-20)
    assert hidden_click_bound(10**8, both_ports_probability(0.5), 1e-22) / 10**8 == pytest.approx(5 / 3, rel=5e-3)
    for find in (cross_probability, both_ports_probability):
        with pytest.raises(ConfigurationError, match="passive receiver needs both bases"):
            find(1.0)
