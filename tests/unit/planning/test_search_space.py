"""What may be chosen on a link, and that every choice is a valid profile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigurationError
from common.planning.search_space import Axis, default_over, search_space
from common.planning.settings import with_entries
from common.profiles.consistency import check_consistency
from common.profiles.link import load_profile, profile_names
from common.profiles.setting import block_setting

LASER = ("source.intensities", "source.probability_intensity")
DECOY = load_profile("decoy")
ONE_DECOY = with_entries(
    DECOY, {"source.intensities": (0.5, 0.1), "source.probability_intensity": (0.8, 0.2), "security.paper_proof": "rusca-2018"}
)
UNIT = st.floats(0.0, 1.0)


@given(st.tuples(UNIT, UNIT, UNIT, UNIT))
def test_any_four_numbers_are_two_decoys(units):
    check_consistency(search_space(DECOY, LASER).profile_at(units))


@given(st.tuples(UNIT, UNIT, UNIT))
def test_any_three_numbers_are_one_decoy(units):
    check_consistency(search_space(ONE_DECOY, LASER).profile_at(units))


@pytest.mark.parametrize("name", sorted(set(profile_names()) - {"recorded"}))
def test_the_start_is_the_profile_and_every_corner_is_one(name):
    profile = load_profile(name)
    space = search_space(profile, default_over(profile))
    at_start = space.profile_at(space.start)
    assert at_start.source.probability_z == pytest.approx(profile.source.probability_z)
    assert at_start.source.pre_attenuation == pytest.approx(profile.source.pre_attenuation)
    assert at_start.source.intensities == pytest.approx(profile.source.intensities)
    assert at_start.source.probability_intensity == pytest.approx(profile.source.probability_intensity)
    for corner in (0.0, 1.0):
        check_consistency(space.profile_at([corner] * len(space.axes)))


def test_the_weakest_of_three_intensities_stays():
    space = search_space(DECOY, LASER)
    assert {space.profile_at([unit] * 4).source.intensities[2] for unit in (0.0, 0.3, 1.0)} == {DECOY.source.intensities[2]}


@given(UNIT, st.sampled_from(["linear", "log", "logit"]))
def test_an_axis_never_leaves_its_bounds_and_finds_its_values_again(unit, scale):
    axis = Axis("x", 0.001, 0.9, scale)
    value = axis.value(unit)
    assert axis.low <= value <= axis.high
    assert axis.unit(value) == pytest.approx(unit, abs=1e-9)


def test_what_is_usual_depends_on_the_link():
    assert default_over(load_profile("niedersachsen")) == ("source.probability_z", "source.pre_attenuation", "receiver.gate_ps")
    assert "receiver.probability_z" in default_over(load_profile("hbn"))
    assert set(LASER) < set(default_over(DECOY))
    assert "receiver.gate_ps" not in default_over(load_profile("hefei"), "paper")
    sharp = with_entries(DECOY, {"receiver.jitter_ps": 0.0})
    assert "receiver.gate_ps" not in default_over(sharp)


def test_a_gate_is_at_most_a_period_or_the_room_of_a_time_bin():
    (gate,) = search_space(load_profile("niedersachsen"), ["receiver.gate_ps"]).axes
    assert gate.high == pytest.approx(1e12 / 228e6)
    timebin = load_profile("timebin-120km")
    (gate,) = search_space(timebin, ["receiver.gate_ps"]).axes
    assert gate.high == timebin.receiver.time_bin_separation_ps


@pytest.mark.parametrize(
    ("link", "over", "mode", "said"),
    [
        ("hbn", ["source.g2"], "composable", "source.g2.*choose among"),
        ("hbn", [], "composable", "at least one"),
        ("hbn", ["source.probability_z", "source.probability_z=0.2:0.3"], "composable", "each once"),
        ("hbn", ["source.intensities"], "composable", "source.intensities.*single-photon"),
        ("decoy", ["source.pre_attenuation"], "composable", "source.pre_attenuation.*laser"),
        ("decoy", ["source.intensities=0.1:0.2"], "composable", "source.intensities.*cannot be given"),
        ("niedersachsen", ["receiver.probability_z=0.3:0.8"], "composable", "between 0.5 and 0.999"),
        ("timebin-120km", ["receiver.probability_z"], "composable", "receiver.probability_z.*interferometer"),
        ("niedersachsen", ["receiver.gate_ps"], "paper", "receiver.gate_ps.*shape"),
        ("hbn", ["source.probability_z=0.2"], "composable", "LOW:HIGH"),
        ("hbn", ["source.probability_z=a:b"], "composable", "LOW:HIGH"),
        ("hbn", ["source.probability_z=0.2:1.5"], "composable", "between 0.001 and 0.999"),
        ("hbn", ["source.probability_z=0.2:nan"], "composable", "between 0.001 and 0.999"),
        ("hbn", ["source.probability_z=0.2:0.2"], "composable", "LOW lies below HIGH"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_chosen_is_refused_by_name(link, over, mode, said):
    with pytest.raises(ConfigurationError, match=said):
        search_space(load_profile(link), over, mode)


@pytest.mark.parametrize(
    ("link", "changes", "mode", "low"),
    [
        ("niedersachsen", {}, "composable", 0.5),
        ("niedersachsen", {}, "paper", 0.001),
        ("niedersachsen", {"receiver.dark_rate_hz": 0.0}, "composable", 0.001),
        ("hefei", {}, "composable", 0.001),
        ("hbn", {}, "composable", 0.001),
    ],
)
def test_a_splitter_is_chosen_among_those_whose_noise_the_proof_covers(link, changes, mode, low):
    profile = with_entries(load_profile(link), changes)
    space = search_space(profile, ["receiver.probability_z"], mode)
    assert space.axes[0].low == low
    if mode == "composable":
        for unit in (0.0, 1e-12, 0.5, 1.0):
            block_setting(space.profile_at((unit,)))


def test_a_splitter_that_makes_key_from_both_bases_is_even():
    profile = with_entries(load_profile("niedersachsen"), {"security.key_bases": "both"})
    with pytest.raises(ConfigurationError, match=r"receiver.probability_z.*both bases.*1/2"):
        search_space(profile, ["receiver.probability_z"])


def test_a_gate_without_a_pulse_of_some_width_is_refused():
    sharp = with_entries(DECOY, {"receiver.jitter_ps": 0.0})
    with pytest.raises(ConfigurationError, match=r"receiver.gate_ps.*narrowest"):
        search_space(sharp, ["receiver.gate_ps"])
