"""What a line of ``qkd bench`` says of speed."""

import pytest

from common.cli.bench_tables import cells
from common.cli.benchmarks.measurement import Measurement

SPEED = 3


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"mbit_per_second": 81.26}, "81.26 Mbit/s"),
        ({"mevents_per_second": 17.0}, "17 M/s"),
        ({"mbit_per_second": 0.38, "requests_per_second": 1500.4, "latency_p99_ms": 48.61}, "1,500 requests/s, p99 48.6 ms"),
    ],
)
def test_speed_is_said_in_the_unit_of_what_was_measured(figures, said):
    assert cells(Measurement(stage="any", method="any", **figures))[SPEED] == said
