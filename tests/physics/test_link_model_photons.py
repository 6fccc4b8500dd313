"""The planner's tables against photons sent one by one: every protocol, both receivers, time bins and decoys.

Each case compares all entries of its table and fails by chance once in 1e6. ``QKD_PHOTON_PULSES`` takes more pulses than 200,000.
"""

import os

import numpy as np
import pytest

from common.planning.gate import Gate
from common.planning.link_model import link_model
from common.profiles.link import load_profile
from tests.physics.tables import assert_table, planned
from tests.reference.photons import simulate_photons

PULSES = int(os.environ.get("QKD_PHOTON_PULSES", "200000"))

FALSE_ALARM = 1e-6

BRIGHT = ("channel.loss_db=2", "receiver.dark_rate_hz=2e6", "source.probability_z=0.6")
LASER = (
    'protocol="three-state-decoy"',
    'security.proof="three-state-decoy"',
    'security.paper_proof="three-state-laser"',
    'source.kind="weak-coherent"',
    "source.intensities=[0.6, 0.2, 0.01]",
    "source.probability_intensity=[0.4, 0.3, 0.3]",
    "source.mean_photon_number=0",
    "source.g2=0",
)
PAIRS = ("source.mean_photon_number=0.6", "source.g2=1.0", "receiver.efficiency=0.8")
STEADY = ("channel.fading_sigma_db=0",)
ACTIVE = ('receiver.basis_choice="active"', "receiver.probability_z=0.7")
PASSIVE = ('receiver.basis_choice="passive"', "receiver.probability_z=0.7")

CASES = {
    "bb84 single photons, tails over the period": (
        "niedersachsen",
        (*BRIGHT, *PASSIVE, "source.g2=0.5", "source.mean_photon_number=0.4", "source.lifetime_ps=1200", "receiver.dead_time_ps=15000"),
    ),
    "bb84 single photons, active": (
        "niedersachsen",
        (*BRIGHT, *ACTIVE, "source.g2=0.5", "source.mean_photon_number=0.4", "receiver.dead_time_ps=15000", "receiver.gate_ps=3000"),
    ),
    "three measured states": (
        "hefei",
        (*BRIGHT, *PASSIVE, *STEADY, "source.g2=0.5", "source.state_angles_deg=[3, 172, 97]", "receiver.dead_time_ps=30000"),
    ),
    "three states, active": ("hefei", (*BRIGHT, *ACTIVE, *STEADY, "source.g2=0.5", "source.lifetime_ps=2000")),
    "three states, fading": ("hefei", (*BRIGHT, *PASSIVE, "channel.fading_sigma_db=1.5", "receiver.dead_time_ps=30000")),
    "three states of laser light": ("hefei", (*BRIGHT, *PASSIVE, *STEADY, *LASER)),
    "bb84 with decoys": ("decoy", (*BRIGHT, *PASSIVE, "source.lifetime_ps=900", "receiver.gate_ps=8000", "receiver.dead_time_ps=12000")),
    "bb84 with decoys, active": ("decoy", (*BRIGHT, *ACTIVE, "source.lifetime_ps=900", "receiver.dead_time_ps=12000")),
    "time bins": (
        "timebin-120km",
        (*BRIGHT, "source.mean_photon_number=0.3", "source.g2=0.5", "channel.misalignment=0.05", "receiver.efficiency=0.6"),
    ),
    "time bins, narrow gates": (
        "timebin-120km",
        (*BRIGHT, *PAIRS, "source.lifetime_ps=2000", "receiver.dead_time_ps=0", "receiver.gate_ps=1500"),
    ),
    "time bins, narrow gates and dead ports": (
        "timebin-120km",
        (*BRIGHT, *PAIRS, "source.lifetime_ps=2000", "receiver.dead_time_ps=20000", "receiver.gate_ps=1500"),
    ),
    "time bins with long tails": (
        "timebin-120km",
        (*BRIGHT, "source.mean_photon_number=0.3", "source.lifetime_ps=2000", "receiver.efficiency=0.6", "receiver.dead_time_ps=0"),
    ),
    "time bins of laser light": ("timebin-120km", (*BRIGHT, *LASER, "receiver.efficiency=0.6", "receiver.dead_time_ps=20000")),
}


@pytest.mark.parametrize(("link", "settings"), CASES.values(), ids=CASES)
def test_every_entry_of_the_table_is_what_single_photons_give(link, settings):
    profile = load_profile(link, settings)
    width_ps = min(profile.receiver.gate_ps or np.inf, profile.receiver.time_bin_separation_ps or 1e12 / profile.source.clock_hz)
    gate = Gate.best(profile.source.lifetime_ps, profile.receiver.jitter_ps, width_ps)

    counts, sent = simulate_photons(profile, gate.start_ps, PULSES, seed=1)

    assert counts.sum() > PULSES / 100
    assert_table(counts, sent, planned(link_model(profile)), FALSE_ALARM)
