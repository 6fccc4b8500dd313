"""Alice tells of no slot twice, whatever session asks and whatever has crashed."""

import numpy as np
import pytest

from alice.answered import NOTHING, AnsweredSlots
from common.errors import ConfigurationError, KeyStoreError, RemoteProtocolError
from common.timetags.live import EmissionProgress, EmissionStream
from tests.unit.test_live_stations import HEADER, KEY, begun, emission_station


def test_the_mark_outlives_the_process_and_belongs_to_one_run(tmp_path):
    path = tmp_path / "answered.json"
    AnsweredSlots(path).answer("r", 5, 900)
    again = AnsweredSlots(path)

    assert again.through("r") == 900
    assert again.through("another") == NOTHING
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(RemoteProtocolError, match="slot 900 was asked for again"):
        again.answer("r", 900, 950)
    again.answer("r", 901, 901)
    again.answer("another", 5, 6)


def test_slots_whose_outcomes_are_public_are_passed_over():
    answered = AnsweredSlots()
    answered.pass_over("r", 40)
    answered.pass_over("r", 30)

    assert answered.through("r") == 40


def test_what_cannot_be_written_is_not_answered(tmp_path):
    folder = tmp_path / "state"
    answered = AnsweredSlots(folder / "answered.json")

    with pytest.raises(KeyStoreError, match="no slot is answered for"):
        answered.answer("r", 1, 2)
    folder.mkdir()
    answered.answer("r", 1, 2)


@pytest.mark.parametrize("text", ["", "{}", '{"version": 2, "run": "r", "through": 1}', '{"version": 1, "run": "r", "through": "1"}'])
def test_a_mark_that_cannot_be_read_is_refused_not_forgotten(tmp_path, text):
    path = tmp_path / "answered.json"
    path.write_text(text)

    with pytest.raises(ConfigurationError, match="cannot be read"):
        AnsweredSlots(path)


@pytest.mark.parametrize("run", ["r", ""])
def test_the_bases_that_one_session_heard_are_not_told_to_the_next(tmp_path, run):
    path = tmp_path / "answered.json"
    stream = (EmissionStream(HEADER, KEY, run), EmissionProgress(1, False, 99_999))
    heard = begun(emission_station(*stream, answered=AnsweredSlots(path)))
    stored = np.arange(100, 1000, dtype=np.int64)
    heard.look_up(stored)

    for station in (heard, emission_station(*stream, answered=AnsweredSlots(path))):
        begun(station)
        with pytest.raises(RemoteProtocolError, match="asked for again"):
            station.look_up(stored)
        assert station.first_slot == 1000
        assert station.first_slot + station.count_slots == HEADER.end_slot
        begun(station)
    assert begun(heard).look_up(stored + 900).size == stored.size
