"""Fits of sources whose values are known, and scipy beside our own; statistical comparisons fail by chance once in 1e5 with these seeds."""

import numpy as np
import pytest
from scipy.optimize import minimize

from alice.source.blinking import measure_blinking
from alice.source.correlation import measure_correlation
from alice.source.dead_time import BIN_PS, BINS, WaitCounter
from alice.source.fitting import fit_counts, fit_values
from alice.source.lifetime import BINS as PHASE_BINS
from alice.source.lifetime import FWHM_PER_SIGMA, fit_decay
from alice.source.saturation import fit_saturation
from alice.source.static_states import truth_table
from common.errors import StreamError
from tests.unit.test_correlation import CLOCK_HZ, emitter

SIGMAS = 4.5


def within(value, truth, sigma):
    assert abs(value - truth) < SIGMAS * sigma, f"{value} is {abs(value - truth) / sigma:.1f} standard deviations from {truth}"


# ------------------------------------------------------------------------------------------------------------- fitting


def test_a_fit_of_counts_is_the_maximum_of_the_likelihood_that_scipy_finds():
    rng = np.random.default_rng(1)
    x = np.linspace(0.0, 5.0, 60)

    def model(p):
        return p[0] * np.exp(-x / p[1]) + p[2]

    counts = rng.poisson(model((40.0, 1.2, 0.4)))

    fit = fit_counts(model, (10.0, 3.0, 1.0), counts)

    def negative(logs):
        expected = model(np.exp(logs))
        return float((expected - counts * np.log(expected)).sum())

    best = minimize(negative, np.log((10.0, 3.0, 1.0)), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-9, "maxiter": 20_000})
    assert fit.values == pytest.approx(np.exp(best.x), rel=1e-4)
    assert 0.5 < fit.deviance_ratio < 1.6


def test_uncertainties_are_the_spread_of_repeated_fits():
    rng = np.random.default_rng(2)
    x = np.linspace(0.2, 6.0, 40)

    def model(p):
        return p[0] * x / (x + p[1])

    sigma = np.full(x.size, 0.3)
    fits = [fit_values(model, (5.0, 1.0), model((10.0, 2.0)) + rng.normal(0, 0.3, x.size), sigma) for _ in range(300)]

    for index, truth in enumerate((10.0, 2.0)):
        values = np.array([fit.values[index] for fit in fits])
        said = float(np.mean([fit.uncertainties[index] for fit in fits]))
        assert float(values.std()) == pytest.approx(said, rel=0.2)
        within(float(values.mean()), truth, said / 300**0.5)


def test_what_the_data_do_not_determine_is_said():
    with pytest.raises(StreamError, match="do not determine"):
        fit_values(lambda p: np.full(5, p[0] * p[1]), (1.0, 1.0), np.ones(5), np.ones(5))


# ------------------------------------------------------------------------------------------------------------ lifetime


def decay_phases(rng, count, *, lifetime_ps, sigma_ps, period_ps, background=0.0):
    signal = rng.exponential(lifetime_ps, count) + rng.normal(0, sigma_ps, count) if sigma_ps else rng.exponential(lifetime_ps, count)
    return np.concatenate([signal, rng.uniform(0, period_ps, int(background * count))])


@pytest.mark.parametrize(
    ("lifetime_ps", "sigma_ps", "period_ps"),
    [(150.0, 40.0, 3128.0), (2000.0, 60.0, 5000.0), (60.0, 150.0, 4386.0)],
    ids=["fast", "longer than a third of the period", "shorter than the response"],
)
@pytest.mark.parametrize("given", ["fitted", "known", "measured"])
def test_a_lifetime_is_found_behind_the_instruments_response(given, lifetime_ps, sigma_ps, period_ps):
    rng = np.random.default_rng([int(lifetime_ps), len(given)])
    phases = decay_phases(rng, 200_000, lifetime_ps=lifetime_ps, sigma_ps=sigma_ps, period_ps=period_ps, background=0.05)
    known = {
        "known": {"instrument_fwhm_ps": sigma_ps * FWHM_PER_SIGMA},
        "measured": {"response_ps": rng.normal(900.0, sigma_ps, 2_000_000)},
    }

    decay = fit_decay(phases + 1234.5, period_ps, **known.get(given, {}))

    within(decay.lifetime_ps, lifetime_ps, decay.lifetime_uncertainty_ps)
    assert decay.deviance_ratio < 1.35
    assert decay.background_ratio == pytest.approx(0.05 / 1.05, abs=0.02)
    assert decay.instrument_fitted == (given == "fitted")
    assert int(decay.counts.sum()) == phases.size
    if given == "fitted":
        assert decay.instrument_fwhm_ps == pytest.approx(sigma_ps * FWHM_PER_SIGMA, rel=0.1)


def test_two_lifetimes_are_noticed_by_the_deviance():
    rng = np.random.default_rng(5)
    phases = np.concatenate([decay_phases(rng, 100_000, lifetime_ps=tau, sigma_ps=30.0, period_ps=6000.0) for tau in (100.0, 900.0)])

    assert fit_decay(phases, 6000.0).deviance_ratio > 3.0


def test_light_that_does_not_decay_has_no_lifetime():
    rng = np.random.default_rng(6)

    with pytest.raises(StreamError, match=r"no decay|do not determine"):
        fit_decay(rng.uniform(0, 4000.0, 50_000), 4000.0)
    with pytest.raises(StreamError, match="too few arrivals"):
        fit_decay(rng.uniform(0, 4000.0, 10), 4000.0)
    assert PHASE_BINS == 512


# ------------------------------------------------------------------------------------------------------------ blinking


def test_bright_and_dark_times_of_a_switching_source_are_found():
    first, second = emitter(
        np.random.default_rng(11), slots=10_000_000, on_fraction=0.3, switch_slots=1_000, probability=0.01, pair_probability=0.0, skew=3
    )

    found = measure_blinking(first, second, CLOCK_HZ, 3)

    assert found.on_fraction == pytest.approx(0.3, abs=0.02)
    assert found.bright_ns == pytest.approx(0.3 * 1_000 / CLOCK_HZ * 1e9, rel=0.15)
    assert found.dark_ns == pytest.approx(0.7 * 1_000 / CLOCK_HZ * 1e9, rel=0.15)
    assert len(found.correlation_ns) == 1
    assert found.correlation_ns[0] == pytest.approx(0.3 * 0.7 * 1_000 / CLOCK_HZ * 1e9, rel=0.15)


def test_a_steady_source_does_not_blink():
    first, second = emitter(
        np.random.default_rng(12), slots=5_000_000, on_fraction=1.0, switch_slots=2_000, probability=0.05, pair_probability=0.0, skew=0
    )

    found = measure_blinking(first, second, CLOCK_HZ, 0)

    assert found.on_fraction == 1.0
    assert (found.bright_ns, found.correlation_ns) == (None, ())


def test_a_dip_that_chance_makes_is_told_from_one_that_is_there():
    rng = np.random.default_rng(13)
    one, other = (np.flatnonzero(rng.random(20_000_000) < 0.002) for _ in range(2))
    first, second = emitter(rng, slots=20_000_000, on_fraction=1.0, switch_slots=1000, probability=0.01, pair_probability=0.0, skew=7)

    assert measure_correlation(one, other, CLOCK_HZ).probability_by_chance > 1e-3
    assert measure_correlation(one, other, CLOCK_HZ, 0).g2_bright == pytest.approx(1.0, abs=0.5)
    found = measure_correlation(first, second, CLOCK_HZ)
    assert (found.skew_slots, found.count_zero) == (7, 0)
    assert found.probability_by_chance < 1e-6


# ----------------------------------------------------------------------------------------------------------- dead time


def clicks_of(rng, *, count, rate_hz, dead_ps, afterpulsing=0.0, after_ps=20_000.0):
    """Clicks of steady light; each leaves the detector dead, and some come back as an afterpulse soon behind that."""
    waits = dead_ps + rng.exponential(1e12 / rate_hz, count)
    again = rng.random(count) < afterpulsing
    waits[again] = np.minimum(waits[again], dead_ps + rng.exponential(after_ps, int(again.sum())))
    return np.rint(np.cumsum(waits)).astype(np.int64)


@pytest.mark.parametrize("rate_hz", [1e5, 3e6])
def test_a_dead_time_and_afterpulses_are_found(rate_hz):
    rng = np.random.default_rng(int(rate_hz))
    clicks = clicks_of(rng, count=400_000, rate_hz=rate_hz, dead_ps=45_000, afterpulsing=0.02)
    counter = WaitCounter()
    for part in np.array_split(clicks, 7):
        counter.take(part)

    found = counter.result()

    assert found.dead_time_ps == pytest.approx(45_000, abs=SIGMAS * found.dead_time_uncertainty_ps + BIN_PS)
    assert 45_000 <= found.shortest_ps < 45_000 + 20 * BIN_PS
    assert found.plateau_hz == pytest.approx(rate_hz, rel=0.05)
    within(found.afterpulsing_probability, 0.02, found.afterpulsing_uncertainty + 0.001)


def test_pieces_give_what_the_whole_gives():
    clicks = clicks_of(np.random.default_rng(7), count=20_000, rate_hz=1e6, dead_ps=30_000)
    whole, parts = WaitCounter(), WaitCounter()
    whole.take(clicks)
    for part in np.split(clicks, [1, 1, 5000, 19_999]):
        parts.take(part)

    assert whole.result().dead_time_ps == parts.result().dead_time_ps
    assert whole.result().shortest_ps == parts.result().shortest_ps
    assert np.array_equal(whole.result().hazard_hz, parts.result().hazard_hz)


def test_too_few_waits_are_no_measurement():
    counter = WaitCounter()
    counter.take(np.arange(5000, dtype=np.int64) * BIN_PS * BINS * 2)

    with pytest.raises(StreamError, match="follow within 20 us of another"):
        counter.result()


# ---------------------------------------------------------------------------------------------------------- saturation


def test_saturation_is_found_from_counts():
    rng = np.random.default_rng(8)
    power = np.geomspace(5.0, 500.0, 12)
    rate_hz = rng.poisson(10 * 80_000 * power / (power + 60.0)) / 10

    found = fit_saturation(power, rate_hz, np.sqrt(rate_hz / 10))

    within(found.rate_hz, 80_000, found.rate_uncertainty_hz)
    within(found.power, 60.0, found.power_uncertainty)
    assert found.rate_at(np.array([found.power]))[0] == pytest.approx(found.rate_hz / 2)


def test_a_rate_that_does_not_bend_has_no_saturation():
    power = np.linspace(1.0, 10.0, 10)

    with pytest.raises(StreamError, match=r"higher powers|do not determine"):
        fit_saturation(power, 100.0 * power, np.full(10, 5.0))
    with pytest.raises(StreamError, match="different powers"):
        fit_saturation(power[:2], power[:2], power[:2])
    with pytest.raises(StreamError, match="above 0"):
        fit_saturation(power - 1.0, power, power)


# ------------------------------------------------------------------------------------------------------- static states


def test_fidelities_and_qber_are_what_the_counts_say():
    table = truth_table(
        {
            "H": {"H": 9900, "V": 100, "D": 5100, "A": 4900},
            "V": {"H": 300, "V": 9700, "D": 5000, "A": 5000},
            "D": {"H": 5000, "V": 5000, "D": 9950, "A": 50},
        }
    )

    assert table.states["H"].fidelity == 0.99
    assert table.states["H"].low < 0.99 < table.states["H"].high
    assert table.states["H"].high - table.states["H"].low == pytest.approx(2 * (0.99 * 0.01 / 10_000) ** 0.5, rel=0.1)
    assert table.states["H"].balance == {"D": 0.51}
    assert table.states["V"].shares == {"H": 0.03, "V": 0.97, "D": 0.5, "A": 0.5}
    assert table.qber == {"HV": pytest.approx(0.02)}
    assert table.mean_fidelity == pytest.approx((0.99 + 0.97 + 0.995) / 3)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({}, "no state"),
        ({"Q": {"H": 1, "V": 1}}, "'Q' is no state"),
        ({"H": {"H": 1}}, "nothing is said of detector V"),
        ({"H": {"H": 0, "V": 0}}, "no click of H or V"),
        ({"H": {"H": -1, "V": 5}}, "negative"),
    ],
)
def test_tables_that_say_nothing_are_refused(counts, said):
    with pytest.raises(StreamError, match=said):
        truth_table(counts)
