"""Three states, decoys and time bins, emulated and distilled: gains, tables, QBER and secret bits are what the planner says, over seeds.

Nothing is fitted. Counts lie between exact binomial tails, lengths within the spread of blocks drawn from the planner's probabilities; all
comparisons of this module together fail by chance once in 1e6. ``QKD_AGREEMENT_SEEDS`` takes more seeds than 3.
"""

import os
from math import sqrt
from statistics import NormalDist, fmean, stdev

import numpy as np
import pytest

from common.blocks import BasisCounts, BlockCounts
from common.channel.codec import Party
from common.distillation.recipe import Recipe
from common.leakage import Leakage
from common.planning.counts import expected_counts
from common.planning.link_model import link_model
from common.profiles.link import load_profile
from common.security.bounds import binomial_lower_bound, binomial_upper_bound
from common.security.key_length import key_length
from tests.support.runs import distilled, keys_are_identical

SEEDS = int(os.environ.get("QKD_AGREEMENT_SEEDS", "3"))
DRAWS = 200

CASES = {
    "three states": ("hefei", 1.1, ("channel.loss_db=8", "channel.fading_sigma_db=0", "security.block_bits=1000000")),
    "decoys": ("decoy", 0.9, ("security.block_bits=1000000", "security.frame_pulses=1000000")),
    "time bins": ("timebin-120km", 330.0, ("channel.loss_db=12", "security.block_bits=1000000")),
}
FALSE_ALARM = 1e-6 / (len(CASES) * (4 * 12 + 6))
SIGMAS = NormalDist().inv_cdf(1 - FALSE_ALARM)


@pytest.fixture(scope="module", params=CASES)
def runs(request):
    name, seconds, settings = CASES[request.param]
    frame = "security.frame_pulses=761300" if name == "hefei" else None
    profile = load_profile(name, [*settings, *([frame] if frame else [])])
    found = []
    for seed in range(SEEDS):
        _, run = distilled(profile, seconds, seed)
        assert keys_are_identical(run)
        assert not any(run.failures.values())
        found.append(run.outcomes[Party.BOB][0])
    return profile, found


def between(count, trials, probability, what):
    low, high = binomial_lower_bound(trials, probability, FALSE_ALARM), binomial_upper_bound(trials, probability, FALSE_ALARM)
    assert low <= count <= high, f"{what}: {count} of {trials}, expected {trials * probability:.1f}, between {low} and {high}"


def test_every_count_of_the_proof_is_what_the_planner_expects(runs):
    profile, blocks = runs
    pulses = sum(block.block.counts.pulses for block in blocks)
    unit = expected_counts(profile, 10**15, link_model(profile))
    tables = np.sum([np.array(block.block.counts.table) for block in blocks], axis=0)

    for place, cell in np.ndenumerate(np.array(unit.table)):
        between(int(tables[place]), pulses, cell * 1e-15, place)
    between(sum(block.block.counts.detections for block in blocks), pulses, unit.detections * 1e-15, "detections")
    between(sum(block.block.counts.cross_clicks for block in blocks), pulses, unit.cross_clicks * 1e-15, "cross clicks")
    for index, share in enumerate(unit.key_by_intensity):
        between(sum(block.block.counts.key_by_intensity[index] for block in blocks), pulses, share * 1e-15, f"key of intensity {index}")
    kept = sum(block.block.counts.z.kept for block in blocks)
    between(sum(block.block.corrected[0] for block in blocks), kept, link_model(profile).z.qber, "errors of the key")


def test_secret_bits_lie_where_the_planner_puts_them(runs):
    """Each length against those of drawn blocks of as many pulses that leak as much a bit; seeds are averaged."""
    profile, blocks = runs
    recipe, model = Recipe.of(profile), link_model(profile)
    generator = np.random.default_rng(1)
    obtained, expected, deviations = [], [], []
    for block in blocks:
        counts = block.block.counts
        per_bit = block.block.leakage.total_bits / counts.z.kept
        lengths = [drawn_length(recipe, expected_counts(profile, counts.pulses, model), per_bit, generator) for _ in range(DRAWS)]
        obtained.append(block.secret_bits)
        expected.append(fmean(lengths))
        deviations.append(stdev(lengths))

    assert min(obtained) > 0
    deviation = sqrt(sum(value**2 for value in deviations) * (1 + 1 / DRAWS)) / len(blocks)
    assert abs(fmean(obtained) - fmean(expected)) < SIGMAS * deviation, f"{obtained}, expected {expected} ± {deviation:.0f}"


def drawn_length(recipe, expected, leaked_per_bit, generator):
    key = generator.poisson(expected.key_by_intensity or (expected.z.key,))
    table = tuple(tuple(int(cell) for cell in generator.poisson(row)) for row in expected.table)
    count_key = int(key.sum())
    counts = BlockCounts(
        pulses=expected.pulses,
        frames=1,
        detections=expected.detections,
        cross_clicks=int(generator.poisson(expected.cross_clicks)),
        z=BasisCounts(count_key, count_key, expected.z.tested, expected.z.errors),
        x=expected.x,
        table=table,
        key_by_intensity=tuple(key.tolist()) if expected.key_by_intensity else (),
    )
    return key_length(counts, Leakage({"all": round(leaked_per_bit * count_key)}), recipe.setting, recipe.budget).secret_bits
