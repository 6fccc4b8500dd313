"""Slow reference of the frame-offset score: one candidate after the other, one detection after the other."""

from common.kernels.frame_offset import LEAD_DETECTIONS


def slow_score_offsets(settings, row_start, outcome, gain_bits, stride, reject_bits, count):
    scores = []
    for candidate in range(count):
        score = 0.0
        for i, (place, seen) in enumerate(zip(row_start, outcome, strict=True)):
            if i >= LEAD_DETECTIONS and score < -reject_bits:
                break
            score += gain_bits[settings[place + candidate * stride]][seen]
        scores.append(score)
    return scores
