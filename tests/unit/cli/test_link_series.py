"""A link over its time, from what both ends told."""

import pytest

from common.cli.link_series import CURVE_POINTS, MOST_LOOKS, Watched, latest_steps, link_series
from common.cli.live_run import is_hopeless
from common.cli.plots import LIGHT, lock_losses_s, svg_plot
from tests.support.runs import short_niedersachsen

PROFILE = short_niedersachsen()


def step(block, number, *, compared=0, corrected=0, errors=10, frames=10):
    return {
        "block": block,
        "step": number,
        "frames": frames,
        "detections": 40_000,
        "cross_clicks": 0,
        "key": (10_000, 0),
        "tested": (0, 10_000),
        "errors": (0, errors),
        "table": ((0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 5000, errors), (0, 0, 0, 5000 - errors)),
        "key_by_intensity": (),
        "compared": (compared, 0),
        "corrected": (corrected, 0),
    }


def block(number, *, secret_bits=4000, errors=20, corrected=20):
    counts = {
        "Z": {"key": 20_000, "kept": 20_000, "tested": 0, "errors": 0},
        "X": {"key": 0, "kept": 0, "tested": 20_000, "errors": errors},
    }
    return {
        "number": number,
        "secret_bits": secret_bits,
        "leakage": {"parities": 400},
        "counts": counts,
        "corrected": {"Z": corrected, "X": 0},
    }


def test_of_two_reports_of_a_step_the_one_that_knows_the_errors_counts():
    early, late, other = step(1, 0), step(1, 0, compared=10_000, corrected=10), step(1, 1)

    assert latest_steps([early, other], [early, late, other]) == [late, other]
    assert latest_steps([early, late], [early]) == [late]


def test_every_step_has_its_error_rate_and_the_key_so_far():
    steps = [step(1, 0, compared=10_000, corrected=10), step(1, 1, compared=10_000, corrected=30), step(2, 0, compared=10_000, corrected=5)]
    series = link_series(PROFILE, steps, [block(1, secret_bits=18_000), block(2, secret_bits=9000)])
    step_s = 10 * PROFILE.security.frame_pulses / PROFILE.source.clock_hz

    assert series.end_s == pytest.approx([step_s, 2 * step_s, 3 * step_s])
    assert series.qber == {"Z": [0.001, 0.003, 0.0005], "X": [0.001, 0.001, 0.001]}
    assert series.sifted_bits_per_second == pytest.approx([20_000 / step_s] * 3)
    assert 0 < series.secret_bits[0] < 18_000
    assert series.secret_bits[1:] == [18_000, 27_000]
    assert len(series.expected_curve) == CURVE_POINTS
    assert series.expected_curve[-1][0] == pytest.approx(3 * step_s)


def test_steps_of_a_block_that_has_not_ended_are_left_out():
    series = link_series(PROFILE, [step(1, 0), step(2, 0)], [block(1)])

    assert len(series.end_s) == 1
    assert series.qber["Z"] == [None]


def test_without_a_block_there_is_nothing_to_show():
    series = link_series(PROFILE, [step(1, 0)], [])

    assert series.end_s == []
    assert series.expected_curve == []


@pytest.mark.parametrize(
    ("blocks", "answer"),
    [
        ([], False),
        ([block(1)], False),
        ([block(1, secret_bits=0)], False),
        ([block(1, secret_bits=0, errors=5000, corrected=5000)], True),
        ([block(1), block(2, secret_bits=0, errors=9000, corrected=9000)], False),
        ([{"number": 1, "secret_bits": 0}], False),
    ],
)
def test_a_link_is_hopeless_where_even_an_endless_block_would_give_no_key(blocks, answer):
    assert is_hopeless(blocks) is answer


def look(lock_losses=0, **positions):
    drift = {"state": "tracking", "positions": positions} if positions else None
    return {"stream": {"counts": {"lock_losses": lock_losses}, "clock": {"offset_ppm": 3.0}}, "drift": drift}


def test_looks_at_a_link_of_any_length_stay_few_and_in_order():
    watched = Watched()
    for second in range(20 * MOST_LOOKS):
        watched.add(second + 1.0, look(second // MOST_LOOKS))
        watched.add(second + 1.0, look(99))  # nothing was sent since

    assert MOST_LOOKS // 2 <= len(watched.link_seconds) <= MOST_LOOKS
    assert watched.link_seconds == sorted(set(watched.link_seconds))
    assert watched.link_seconds[-1] > 19.9 * MOST_LOOKS
    assert set(watched.lock_losses) == set(range(20))
    assert {len(entries) for entries in watched.report().values()} == {len(watched.link_seconds)}


def test_before_anything_was_found_a_look_shows_nothing_found():
    watched = Watched()
    watched.add(1.0, {"stream": {}, "drift": None})

    assert watched.report() == {
        "link_seconds": [1.0],
        "lock_losses": [0],
        "offset_ppm": [None],
        "compensation": [None],
        "positions": [{}],
    }


@pytest.mark.parametrize(("positions", "panels"), [({}, 2), ({"half": 0.5, "phase": -2.0}, 3)])
def test_actuators_are_drawn_where_there_are_some_and_losses_of_lock_are_marked(positions, panels):
    watched = Watched()
    for second, losses in enumerate((0, 0, 1, 1, 2)):
        watched.add(second + 1.0, look(losses, **positions))
    series = link_series(PROFILE, [step(1, 0, compared=10_000, corrected=10)], [block(1)], watched)

    assert lock_losses_s(series) == [3.0, 5.0]
    assert svg_plot(series, LIGHT).count(b'<g id="axes_') == panels
