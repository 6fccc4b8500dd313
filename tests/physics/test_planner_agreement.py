"""What ``qkd simulate`` and ``qkd distil`` give is what the planner says: gains, cross clicks, QBER, secret bits, over seeds and losses.

Nothing is fitted. Two links, three losses each; all comparisons of this module together fail by chance once in 1e6: each of them gets an
equal share, bounds of counts are exact binomial tails. ``QKD_AGREEMENT_SEEDS`` takes more seeds than 20, or fewer.
"""

import json
import os
from dataclasses import dataclass
from math import fsum, log, sqrt
from statistics import NormalDist

import numpy as np
import pytest

from common.blocks import BasisCounts, BlockCounts
from common.channel.codec import Party
from common.cli.main import run
from common.distillation.recipe import Recipe
from common.leakage import Leakage
from common.planning.counts import expected_counts
from common.planning.expected import expected_block
from common.planning.link_model import link_model
from common.profiles.link import LinkProfile, load_profile
from common.security.bounds import binomial_lower_bound, binomial_upper_bound
from common.security.entropy import binary_entropy
from common.security.key_length import key_length
from tests.support.runs import distilled

SEEDS = int(os.environ.get("QKD_AGREEMENT_SEEDS", "20"))

DRAWS = 500
"""Blocks drawn from the planner's probabilities, to know how far the length of one block may be from that of the mean block."""

CASES = {
    "niedersachsen at 10 dB": ("niedersachsen", 0.3, ("channel.loss_db=10", "security.block_bits=40000", "security.frame_pulses=228000")),
    "niedersachsen at 17 dB": ("niedersachsen", 1.3, ("channel.loss_db=17", "security.block_bits=40000", "security.frame_pulses=1140000")),
    "niedersachsen": ("niedersachsen", 12.0, ("security.block_bits=60000", "security.frame_pulses=4560000")),
    "hbn at 4 dB": ("hbn", 45.0, ("channel.loss_db=4", "security.block_bits=60000", "security.frame_pulses=10000")),
    "hbn at 6 dB": ("hbn", 70.0, ("channel.loss_db=6", "security.block_bits=60000", "security.frame_pulses=10000")),
    "hbn": ("hbn", 200.0, ("security.block_bits=60000", "security.frame_pulses=10000")),
}

COMMANDS = ["niedersachsen at 17 dB", "hbn at 6 dB"]
"""Cases that go through the commands as well."""

COMPARISONS = 20 * len(CASES) + 8 * len(COMMANDS)
FALSE_ALARM = 1e-6 / COMPARISONS
"""Probability that one one-sided comparison fails although everything is right."""

SIGMAS = NormalDist().inv_cdf(1 - FALSE_ALARM)


@dataclass(frozen=True)
class Obtained:
    """The first block of a run: sifted bits and errors by basis, bits leaked by reconciliation, length."""

    counts: BlockCounts
    sifted: tuple[int, int]
    errors: tuple[int, int]
    leaked: int
    secret_bits: int

    @property
    def efficiency(self) -> float:
        kept = self.counts.z.kept + self.counts.x.kept
        corrected = sum(self.errors) - self.counts.z.errors - self.counts.x.errors
        return self.leaked / (kept * binary_entropy(corrected / kept))


def obtained(profile: LinkProfile, seconds: float, seed: int) -> Obtained:
    _, outcome = distilled(profile, seconds, seed)
    block = outcome.outcomes[Party.BOB][0]
    closed = block.block
    assert closed is not None
    assert not block.ends_stream  # it closed by its own rule
    assert closed.count_failed == 0  # so every error was seen
    bases = (closed.counts.z, closed.counts.x)
    return Obtained(
        closed.counts,
        (bases[0].key + bases[0].tested, bases[1].key + bases[1].tested),
        (closed.corrected[0] + bases[0].errors, closed.corrected[1] + bases[1].errors),
        sum(count for item, count in closed.leakage.items.items() if not item.startswith("verification")),
        block.secret_bits,
    )


@pytest.fixture(scope="module", params=CASES)
def blocks(request):
    name, seconds, settings = CASES[request.param]
    profile = load_profile(name, settings)
    return profile, [obtained(profile, seconds, seed) for seed in range(SEEDS)]


def assert_expected(name, count, trials, probability):
    """Exact tails; blocks end at a count of detections, which by Wald's identity moves neither mean nor variance."""
    low, high = (bound(trials, probability, FALSE_ALARM) for bound in (binomial_lower_bound, binomial_upper_bound))
    assert low <= count <= high, f"{name}: {count} of {trials}, the planner's {trials * probability:.1f} allows {low} to {high}"


def assert_spread(name, deviations):
    """Squares of independent standard deviations: tails of the chi-square distribution after Laurent and Massart (2000)."""
    squares, freedom, exponent = fsum(value**2 for value in deviations), len(deviations), log(1 / FALSE_ALARM)
    margin = 2 * sqrt(freedom * exponent)
    assert freedom - margin <= squares <= freedom + margin + 2 * exponent, f"{name}: {squares:.1f} where {freedom} is expected"


def test_gains_and_cross_clicks_are_those_of_the_planner(blocks):
    profile, found = blocks
    pulses = sum(block.counts.pulses for block in found)
    expected = expected_counts(profile, pulses)

    assert_expected("detections", sum(block.counts.detections for block in found), pulses, expected.detections / pulses)
    assert_expected("cross clicks", sum(block.counts.cross_clicks for block in found), pulses, expected.cross_clicks / pulses)
    deviations = []
    for index, basis in enumerate((expected.z, expected.x)):
        probability = (basis.key + basis.tested) / pulses
        assert_expected("ZX"[index], sum(block.sifted[index] for block in found), pulses, probability)
        for block in found:
            mean = block.counts.pulses * probability
            deviations.append((block.sifted[index] - mean) / sqrt(mean * (1 - probability)))
    assert_spread("sifted bits", deviations)


def test_the_qber_of_each_basis_is_that_of_the_planner(blocks):
    profile, found = blocks
    model = link_model(profile)

    bits, errors = (np.sum([getattr(block, what) for block in found], axis=0) for what in ("sifted", "errors"))
    expected = bits * (model.z.qber, model.x.qber)

    assert_expected("errors in Z", errors[0], int(bits[0]), model.z.qber)
    assert_expected("errors in X", errors[1], int(bits[1]), model.x.qber)
    assert_expected("errors", errors.sum(), int(bits.sum()), float(expected.sum() / bits.sum()))


def test_secret_bits_are_those_of_the_planner(blocks):
    """The planner's length for the pulses of each block and what its reconciliation leaked, against the length that was obtained.

    A length is no linear function of its counts, and rounds. So blocks are drawn from the planner's probabilities: their lengths say
    how far the mean of lengths lies from the length of the mean block, and how wide they spread.
    """
    profile, found = blocks
    differences = [
        block.secret_bits - expected_block(profile, block.counts.pulses, reconciliation_efficiency=block.efficiency).key.secret_bits
        for block in found
    ]
    pulses, efficiency = round(np.mean([block.counts.pulses for block in found])), float(np.mean([block.efficiency for block in found]))
    planned = expected_block(profile, pulses, reconciliation_efficiency=efficiency).key.secret_bits
    generator = np.random.default_rng(2024)
    drawn = np.array([drawn_length(profile, pulses, efficiency, generator) for _ in range(DRAWS)]) - planned

    assert planned > 1000
    deviation = float(drawn.std(ddof=1))
    error = deviation * sqrt(1 / len(differences) + 1 / DRAWS)
    assert abs(np.mean(differences) - drawn.mean()) <= SIGMAS * error, f"{np.mean(differences)}, {drawn.mean()} ± {error}"
    assert_spread("secret bits", [(value - float(drawn.mean())) / deviation for value in differences])


@pytest.mark.parametrize("case", COMMANDS)
def test_simulate_and_distil_agree_with_rate(case, tmp_path, capsys):
    """What reconciliation will leak is an assumption of ``qkd rate``, so it is left out of both lengths and compared by itself."""
    name, seconds, settings = CASES[case]
    profile, options = load_profile(name, settings), ["--link", name, *(word for setting in settings for word in ("--set", setting))]
    recordings = ["--alice", str(tmp_path / "run/alice/emission.h5"), "--bob", str(tmp_path / "run/bob/tags.h5")]
    assert run(["simulate", *options, "--seconds", str(seconds), "--out", str(tmp_path / "run"), "--seed", "3", "--json"]) == 0
    assert run(["distil", *options, *recordings, "--out", str(tmp_path / "keys"), "--json"]) == 0
    capsys.readouterr()
    assert run(["rate", *options, "--json"]) == 0
    rate = json.loads(capsys.readouterr().out)
    block = json.loads((tmp_path / "keys/report.json").read_text())["blocks"][0]
    pulses, generator = block["counts"]["pulses"], np.random.default_rng(5)
    efficiency = rate["parameters"]["reconciliation.efficiency"]
    deviation = np.std([drawn_length(profile, pulses, efficiency, generator) for _ in range(DRAWS)], ddof=1)

    def gained(ledger):
        return fsum(value for item, value in ledger.items() if not item.startswith("leakage"))

    def leaked(ledger):
        return -fsum(value for item, value in ledger.items() if item.startswith("leakage"))

    assert abs(rate["pulses"] / pulses - 1) < 0.02  # whole frames
    assert_expected("detections", block["counts"]["detections"], pulses, rate["detection_probability"])
    for basis in "ZX":
        bits = block["counts"][basis]["kept"] + block["counts"][basis]["tested"]
        assert_expected(basis, block["corrected"][basis] + block["counts"][basis]["errors"], bits, rate["qber"][basis])
    assert abs(gained(block["ledger"]) - gained(rate["ledger"]) * pulses / rate["pulses"]) < SIGMAS * deviation
    assert abs(leaked(block["ledger"]) / leaked(rate["ledger"]) - 1) < 0.25


def drawn_length(profile: LinkProfile, pulses: int, efficiency: float, generator: np.random.Generator) -> int:
    """Length of a block whose counts are drawn from the planner's probabilities."""
    recipe, model, expected = Recipe.of(profile), link_model(profile), expected_counts(profile, pulses)
    bases, leaked = [], 0.0
    for basis, share in ((expected.z, model.z), (expected.x, model.x)):
        key, tested = int(generator.poisson(basis.key)), int(generator.poisson(basis.tested))
        bases.append(BasisCounts(key, key, tested, int(generator.binomial(tested, share.qber))))
        leaked += key * binary_entropy(generator.binomial(key, share.qber) / key) if key else 0.0
    counts = BlockCounts(pulses, 1, expected.detections, int(generator.poisson(expected.cross_clicks)), bases[0], bases[1])
    leakage = Leakage({"reconciliation": round(efficiency * leaked), "verification": 129})
    return key_length(counts, leakage, recipe.setting, recipe.budget).secret_bits
