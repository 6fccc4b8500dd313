"""What ``qkd status`` says of monitors."""

from common.cli.status import monitors

READINGS = [{"name": "background", "verdict": "in range"}, {"name": "coincidence", "verdict": "too low"}]


def test_monitors_are_told_in_a_line():
    watched = ["background_ratio", "coincidence_ratio"]

    assert "nothing is watched" in monitors({"watched": [], "alarm": None, "readings": []})
    assert monitors({"watched": watched, "alarm": None, "readings": []}) == "monitors: no block yet"
    assert monitors({"watched": watched, "alarm": None, "readings": READINGS}) == "monitors: background in range, coincidence too low"
    assert monitors({"watched": watched, "alarm": "detector-blinding", "readings": READINGS}).startswith(
        "monitors: NO KEY, detector-blinding;"
    )
    assert monitors({"watched": watched, "alarm": "detector-blinding", "readings": []}).endswith("nothing at this end")
