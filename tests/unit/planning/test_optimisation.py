"""The optimiser against brute force, against a formula, and against itself. No chance decides: every search has its seed."""

import pickle
import sys
from itertools import product
from types import SimpleNamespace

import pytest

from common.errors import ConfigurationError
from common.planning.optimisation import optimise, peak
from common.planning.rate import rate_point
from common.planning.search_space import search_space
from common.planning.settings import with_entries
from common.profiles.link import load_profile
from common.security.proofs.single_photon_channel import best_mean_photon_number

QUANTISED = 2e-3
"""Counts and frames are whole: so much a grid may find by luck between the steps."""

PASSIVE = ("decoy", ["receiver.basis_choice=passive", "receiver.probability_z=0.5", "channel.loss_db=20"])


def best_of_grid(profile, over, counts, **how):
    """The most secret bits a pulse on a grid that is even in the units of the search."""
    space = search_space(profile, over, how.get("mode", "composable"))
    grids = [[(index + 0.5) / count for index in range(count)] for count in counts]
    return max(rate_point(space.profile_at(units), **how).secret_bits_per_pulse for units in product(*grids))


@pytest.mark.parametrize(
    ("link", "over", "counts", "how"),
    [
        ("niedersachsen", ["source.probability_z"], (80,), {"block_bits": 100_000}),
        ("niedersachsen", ["source.probability_z=0.1:0.99", "source.pre_attenuation=0.1:1"], (12, 12), {"block_bits": 100_000}),
        ("hefei", ["source.probability_z", "source.pre_attenuation"], (40, 40), {"mode": "paper", "block_bits": 200_000}),
        ("decoy", ["source.intensities", "source.probability_intensity"], (6, 6, 5, 5), {"mode": "paper", "block_bits": 1_000_000}),
        ("decoy", ["source.intensities"], (8, 8), {"block_bits": 1_000_000}),
        ("hefei", ["source.probability_z=0.5:0.99", "receiver.gate_ps"], (9, 9), {"block_bits": 1_000_000}),
        (PASSIVE, ["source.probability_z=0.1:0.99"], (30,), {"block_bits": 1_000_000}),
    ],
    ids=["one-dimension", "two-dimensions", "three-states", "decoys", "decoys-composable", "three-states-composable", "decoys-passive"],
)
def test_no_grid_finds_more(link, over, counts, how):
    profile = load_profile(*link) if isinstance(link, tuple) else load_profile(link)
    grid = best_of_grid(profile, over, counts, **how)
    best = optimise(profile, over, **how)
    assert grid > 0.0
    assert best.point.secret_bits_per_pulse >= grid * (1.0 - QUANTISED)
    assert best.point == rate_point(best.profile, **how)


def test_without_noise_the_attenuation_is_that_of_the_formula():
    quiet = {"channel.misalignment": 0.0, "receiver.dark_rate_hz": 0.0, "channel.background_hz": 0.0, "channel.loss_db": 28.0}
    profile = with_entries(load_profile("niedersachsen"), quiet)
    best = optimise(profile, ["source.pre_attenuation"], mode="paper", asymptotic=True)
    source, receiver = profile.source, profile.receiver
    mean = source.mean_photon_number * source.transmitter_efficiency
    formula = best_mean_photon_number(mean, source.g2, 28.0, receiver.efficiency * receiver.detector_efficiency)
    assert formula < 0.9 * mean
    assert mean * best.profile.source.pre_attenuation == pytest.approx(formula, rel=1e-3)
    assert best.at_bound == ()


def test_every_seed_finds_the_same_and_the_same_seed_the_very_same():
    profile = load_profile("decoy")
    first, *others = [optimise(profile, mode="paper", seed=seed) for seed in (1, 2, 3)]
    for other in others:
        assert other.point.secret_bits_per_pulse == pytest.approx(first.point.secret_bits_per_pulse, rel=5e-3)
    assert optimise(profile, mode="paper", seed=1) == first
    assert 0.0 <= first.spread < 0.05


def test_the_search_is_never_beaten_by_the_own_settings():
    for name in ("niedersachsen", "hefei", "timebin-120km", "hbn", "decoy"):
        profile = load_profile(name)
        own = rate_point(profile, mode="paper").secret_bits_per_pulse
        assert optimise(profile, mode="paper", starts=1).point.secret_bits_per_pulse >= own * (1.0 - 1e-9)


def test_key_is_found_where_the_own_settings_give_none():
    profile = with_entries(load_profile("hefei"), {"source.probability_z": 0.998})
    assert rate_point(profile, mode="paper", block_bits=20_000).secret_bits_per_pulse == 0.0
    best = optimise(profile, mode="paper", block_bits=20_000)
    assert best.point.secret_bits_per_pulse > 0.0
    assert best.spread < 1.0


def test_a_link_without_key_says_so():
    profile = with_entries(load_profile("niedersachsen"), {"channel.loss_db": 45.0})
    best = optimise(profile, mode="paper", starts=1)
    assert best.point.secret_bits_per_pulse == 0.0
    assert best.point.reason
    assert best.spread == 0.0


def test_a_bound_that_decides_is_named():
    profile = load_profile("niedersachsen")
    best = optimise(profile, ["source.probability_z=0.5:0.7"], mode="paper", block_bits=10_000_000)
    assert best.over == {"source.probability_z": (0.5, 0.7)}
    assert best.at_bound == ("source.probability_z",)
    assert best.parameters["source.probability_z"] == pytest.approx(0.7, rel=1e-3)
    assert best.to_json()["over"] == {"source.probability_z": [0.5, 0.7]}


def test_lists_are_reported_as_the_profile_has_them():
    best = optimise(load_profile("decoy"), ["source.intensities"], mode="paper", starts=1)
    assert best.parameters == {"source.intensities": best.profile.source.intensities}
    assert best.to_json()["parameters"]["source.intensities"] == list(best.profile.source.intensities)


def test_where_there_is_no_key_the_smaller_block_leads_the_way():
    """A narrow ridge at one end; everywhere else only ever larger blocks make key, the larger the farther off."""
    calls = []

    def ridge(profile, *, mode, asymptotic, block_bits):
        calls.append((mode, asymptotic, block_bits))
        needed = 10.0 ** (5.0 + 20.0 * abs(profile.source.probability_z - 0.9))
        makes_key = asymptotic or block_bits >= needed
        return SimpleNamespace(secret_bits_per_pulse=1e-3 if makes_key else 0.0, ledger={})

    best = optimise(load_profile("hbn"), ["source.probability_z"], block_bits=110_000, evaluate=ridge)
    assert best.point.secret_bits_per_pulse == 1e-3
    assert best.parameters["source.probability_z"] == pytest.approx(0.9, abs=0.003)
    assert best.evaluations == len(calls)
    assert {bits for _, _, bits in calls} <= {110_000, 1_100_000, 11_000_000, 110_000_000, 200_000_000, None}


def test_an_optimum_travels():
    best = optimise(load_profile("hbn"), ["source.probability_z"], mode="paper", starts=1)
    assert pickle.loads(pickle.dumps(best)) == best


def test_a_search_that_never_starts_is_refused():
    with pytest.raises(ConfigurationError, match="starts = 0"):
        optimise(load_profile("hbn"), starts=0)


def test_without_scipy_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ConfigurationError, match=r"qkdlink\[planning\]"):
        optimise(load_profile("hbn"))


def test_a_peak_is_found_and_an_end_that_is_as_good_is_taken_exactly():
    assert peak(lambda x: -((x - 1.3) ** 2), 0.0, 4.0) == pytest.approx(1.3, abs=0.01)
    assert peak(lambda x: x, 0.0, 4.0) == 4.0
    assert peak(lambda _: 0.0, 0.0, 4.0) == 4.0
