"""The frame-offset kernel against its slow reference."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from common.kernels.frame_offset import score_offsets
from tests.reference.frame_offset import slow_score_offsets


@given(
    seed=st.integers(0, 2**32 - 1),
    detections=st.integers(0, 90),
    candidates=st.integers(1, 60),
    stride=st.integers(1, 5),
    reject_bits=st.floats(0.0, 30.0),
)
def test_scores_are_the_sums_written_out(seed, detections, candidates, stride, reject_bits):
    generator = np.random.default_rng(seed)
    row_start = np.sort(generator.integers(0, 300, detections))
    settings = generator.integers(0, 5, 300 + candidates * stride).astype(np.uint8)
    outcome = generator.integers(0, 4, detections).astype(np.uint8)
    gains = generator.normal(0.0, 2.0, (5, 4))
    scores = np.empty(candidates)

    score_offsets(settings, row_start, outcome, gains, stride, reject_bits, scores)

    assert np.allclose(scores, slow_score_offsets(settings, row_start, outcome, gains, stride, reject_bits, candidates), atol=1e-9)
