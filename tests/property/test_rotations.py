"""Rotations of the sphere: they are rotations, agree with Jones vectors, and three plates make any of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.emulator.optics import StateOptics
from common.emulator.rotations import random_rotation, rotation, wave_plates
from common.profiles.link import load_profile
from common.protocols.protocol import OUTCOME_ANGLES_DEG
from tests.reference.polarisation import reference_interferometer, reference_plates, reference_probability

angles = st.floats(-10.0, 10.0)
triples = st.tuples(angles, angles, angles)


def assert_rotation(matrix):
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1.0)


@given(triples)
def test_a_rotation_is_orthogonal_and_turns_by_its_length_about_its_axis(vector):
    matrix = rotation(np.array(vector))

    assert_rotation(matrix)
    np.testing.assert_allclose(matrix @ vector, vector, atol=1e-9)
    assert np.trace(matrix) == pytest.approx(1.0 + 2.0 * np.cos(np.linalg.norm(vector)), abs=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_a_random_rotation_is_one(seed):
    assert_rotation(random_rotation(np.random.default_rng(seed)))


def test_random_rotations_favour_no_direction():
    rng = np.random.default_rng(1)
    mean = np.mean([random_rotation(rng) for _ in range(20_000)], axis=0)

    np.testing.assert_allclose(mean, 0.0, atol=4.9 * np.sqrt(1 / 3 / 20_000) * 1.2)  # one of nine fails by chance once in 1e8


@given(triples)
def test_states_behind_the_plates_are_those_of_jones_vectors(positions):
    optics = StateOptics.of(load_profile("niedersachsen", ["channel.misalignment=0.0"]), wave_plates(positions))

    for state, angle_deg in enumerate(OUTCOME_ANGLES_DEG):
        for basis in (0, 1):
            expected = reference_probability(reference_plates(positions), angle_deg, OUTCOME_ANGLES_DEG[2 * basis])
            found = optics.flipped[state, basis] if optics.bit[state, basis] else 1.0 - optics.flipped[state, basis]
            assert found == pytest.approx(expected, abs=1e-9)


@given(angles)
def test_states_behind_the_interferometer_are_those_of_jones_vectors(phase_rad):
    profile = load_profile("timebin-120km", ["channel.misalignment=0.0", "channel.visibility=1.0"])
    optics = StateOptics.of(profile, rotation(np.array([phase_rad, 0.0, 0.0])))

    for state, angle_deg in enumerate(profile.source.state_angles_deg):
        for basis in (0, 1):
            expected = reference_probability(reference_interferometer(phase_rad), angle_deg, OUTCOME_ANGLES_DEG[2 * basis])
            found = optics.flipped[state, basis] if optics.bit[state, basis] else 1.0 - optics.flipped[state, basis]
            assert found == pytest.approx(expected, abs=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_the_plates_reach_every_rotation(seed):
    # A plate at a is R3(2a) R1(retardance) R3(-2a). Moving the half turn of the middle plate through leaves
    # R3(2c) R2(-(4b - 2c - 2a)) R3(-2a) for plates at a, b, c: Euler's angles of the wanted rotation.
    wanted = random_rotation(np.random.default_rng(seed))
    alpha, gamma = np.arctan2(wanted[1, 2], wanted[0, 2]), np.arctan2(wanted[2, 1], -wanted[2, 0])
    beta = np.arccos(wanted[2, 2])
    first, third = -gamma / 2, alpha / 2
    second = (2 * third + 2 * first - beta) / 4

    np.testing.assert_allclose(wave_plates((first, second, third)), wanted, atol=1e-9)


@given(triples, st.sampled_from([0, 1]))
def test_the_error_probability_of_a_basis_is_half_the_lost_projection_of_its_axis(positions, basis):
    profile = load_profile("niedersachsen", ["channel.misalignment=0.01"])
    matrix = wave_plates(positions)
    optics = StateOptics.of(profile, matrix)

    right_zero = optics.flipped[2 * basis, basis] if optics.bit[2 * basis, basis] == 0 else 1.0 - optics.flipped[2 * basis, basis]
    assert right_zero == pytest.approx(0.5 * (1.0 - 0.98 * matrix[basis, basis]), abs=1e-12)
