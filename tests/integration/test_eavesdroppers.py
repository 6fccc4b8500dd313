"""An eavesdropper costs exactly what the bound says, and never knows a bit of the key."""

import json
import math

import numpy as np

from common.channel.codec import Party
from common.cli.main import run
from common.cli.offline import distil_offline, system_or_seeded
from common.emulator.eavesdropper import InterceptResend, PhotonNumberSplitting
from common.emulator.link import emulate
from tests.support.listening import Listener
from tests.support.runs import SHORT_NIEDERSACHSEN, SHORT_NIEDERSACHSEN_SECONDS, distilled, short_niedersachsen


def first_block(outcome):
    return outcome.outcomes[Party.BOB][0]


def test_intercept_resend_leaves_no_key_and_the_report_names_the_bound(tmp_path):
    options = ["--link", "niedersachsen", *(word for setting in SHORT_NIEDERSACHSEN for word in ("--set", setting))]
    simulated = ["--seconds", str(SHORT_NIEDERSACHSEN_SECONDS), "--out", str(tmp_path / "run"), "--seed", "1", "--json"]
    run(["simulate", *options, *simulated, "--eve", "intercept-resend=1"])
    recordings = ["--alice", str(tmp_path / "run/alice/emission.h5"), "--bob", str(tmp_path / "run/bob/tags.h5")]

    assert run(["distil", *options, *recordings, "--out", str(tmp_path / "keys"), "--json"]) == 0

    report = json.loads((tmp_path / "keys/report.json").read_text())
    assert report["secret_bits"] == 0
    assert report["blocks_kept"] == 0
    assert sum(report["blocks_discarded"].values()) >= 1
    assert all(block["bound"] for block in report["blocks"])
    assert math.fsum(report["ledger"].values()) == 0
    assert abs(report["qber"]["X"] - 0.25) < 0.02
    assert (tmp_path / "keys/alice.key").read_bytes() == b""


def test_a_tenth_of_intercept_resend_shortens_the_key_by_what_the_bound_says():
    """QBER rises by 1/40 (20 standard deviations here); the phase-error term of the ledger grows and the key shrinks with it."""
    _, quiet = distilled(short_niedersachsen(), SHORT_NIEDERSACHSEN_SECONDS, 2)
    _, tapped = distilled(short_niedersachsen(), SHORT_NIEDERSACHSEN_SECONDS, 2, InterceptResend(0.1))
    without, with_eve = first_block(quiet), first_block(tapped)
    counts = with_eve.block.counts

    assert abs(counts.x.errors / counts.x.tested - 0.01 - 0.1 * 0.25) < 6 * math.sqrt(0.034 / counts.x.tested)
    assert 0 < with_eve.secret_bits < without.secret_bits
    differences = {item: with_eve.length.ledger[item] - without.length.ledger[item] for item in without.length.ledger}
    assert math.fsum(differences.values()) == with_eve.secret_bits - without.secret_bits
    assert differences["phase errors Z"] < 0
    assert differences["leakage, parities"] < 0


def test_photon_number_splitting_is_paid_for_by_the_multi_photon_term():
    """QBER stays; the bits Eve really knows are fewer than the ledger has already given up."""
    profile = short_niedersachsen("channel.loss_db=17", "source.g2=0.1")
    _, quiet = distilled(profile, 1.4, 4)
    emulation = emulate(profile, 1.4, 4, PhotonNumberSplitting())
    listener = Listener()
    tapped = distil_offline(profile, emulation.emission, emulation.tags, system_or_seeded(4), wire=listener.wire)
    block = first_block(tapped)

    def qber(outcome):
        return outcome.block.counts.x.errors / outcome.block.counts.x.tested

    spread = math.sqrt(2 * 0.011 / block.block.counts.x.tested)
    assert abs(qber(block) - qber(first_block(quiet))) < 6 * spread

    key_slots = listener.key_slots(profile.security.frame_pulses, block.number)
    assert key_slots.size == block.block.counts.z.key
    assert emulation.truth.eve is not None
    known = np.intersect1d(key_slots, emulation.truth.eve.slots).size  # she kept a photon of each and heard the basis: she has the bit
    assert known > 0.02 * key_slots.size  # the attack is a real one: it would have broken a key without the multi-photon term
    assert known < -block.length.ledger["multi-photon Z"]
    assert block.secret_bits + known < key_slots.size
