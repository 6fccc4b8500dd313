"""Alice's reading of the emission record."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from alice.emission import Emission, open_emission
from common.emulator.source import emission_header
from common.errors import ConfigurationError
from common.profiles.link import load_profile
from common.timetags.emission_file import write_emission
from common.timetags.emission_record import EmissionHeader, EmissionRecord

PROFILE = load_profile("niedersachsen")
RECORD = EmissionRecord(EmissionHeader(228e6, 5, 100, ("Z0", "Z1", "X0", "X1"), (0.25,) * 4), expander_key=bytes(32))


def test_alice_reads_what_was_written(tmp_path):
    write_emission(tmp_path / "emission.h5", RECORD)

    emission = open_emission(tmp_path / "emission.h5", PROFILE)

    assert (emission.first_slot, emission.count_slots, emission.clock_hz) == (5, 100, 228e6)
    assert np.array_equal(emission.window(5, 100), RECORD.window(5, 100))
    assert np.array_equal(emission.lookup(np.array([50, 7])), RECORD.lookup(np.array([50, 7])))
    assert emission.covers(np.array([4, 5, 104, 105])).tolist() == [False, True, True, False]
    assert emission.settings_randomness == "recorded"
    assert Emission(RECORD, PROFILE).settings_randomness == "computational"


def test_a_record_of_another_clock_is_refused():
    slower = replace(PROFILE, source=replace(PROFILE.source, clock_hz=76e6))

    with pytest.raises(ConfigurationError, match="clock"):
        Emission(RECORD, slower)


@pytest.mark.parametrize("of_z", [0.92, 0.9 + 1e-8, 0.88])
def test_a_record_of_another_bias_than_the_proof_counts_with_is_refused(of_z):
    """The proof divides the clicks of X0 by 1 - p_Z: with the wrong p_Z it would take what it counts for more or less than it is."""
    profile = load_profile("hefei")

    def record(p):
        return EmissionRecord(EmissionHeader(76.13e6, 0, 100, ("Z0", "Z1", "X0"), (p / 2, p / 2, 1 - p)), expander_key=bytes(32))

    Emission(record(0.9), profile)
    with pytest.raises(ConfigurationError, match=r"0\.4\d+ of setting Z0, the link's profile gives 0\.45;.*source.probability_z"):
        Emission(record(of_z), profile)


def test_a_record_of_other_intensities_is_refused():
    profile = load_profile("decoy")
    header = emission_header(profile, 0, 100, profile.source.clock_hz)
    Emission(EmissionRecord(header, expander_key=bytes(32)), profile)
    shifted = replace(profile, source=replace(profile.source, probability_intensity=(0.7, 0.2, 0.1)))
    with pytest.raises(ConfigurationError, match=r"of setting Z0/signal.*source.probability_intensity"):
        Emission(EmissionRecord(header, expander_key=bytes(32)), shifted)


def test_the_record_is_neither_printed_nor_pickled():
    emission = Emission(RECORD, PROFILE)

    assert repr(emission) == "Emission(first_slot=5, count_slots=100)"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(emission)
