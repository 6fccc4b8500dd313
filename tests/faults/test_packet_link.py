"""What a way between two hosts does to packets, without a clock and without a device."""

import random

import pytest

from tests.support.packet_link import MOST_BYTES_UNDER_WAY, Conditions, Way

PACKET = bytes(1000)


def sent(way: Way, count: int, spacing_seconds: float = 0.01) -> list[float]:
    """When each of so many numbered packets arrives, in the order in which they do."""
    for number in range(count):
        way.take(number.to_bytes(2, "big") + PACKET[2:], number * spacing_seconds)
    arrivals = []
    while (at := way.next_arrival) is not None:
        arrivals += [at - int.from_bytes(packet[:2], "big") * spacing_seconds for packet in way.arrived(at)]
    return arrivals


def way(**conditions) -> Way:
    made = Way(random.Random("7"))
    made.change(Conditions(**conditions))
    return made


def test_a_perfect_way_carries_everything_at_once():
    perfect = way()
    assert sent(perfect, 100) == pytest.approx([0.0] * 100)
    assert perfect.carried.delivered == 100
    assert perfect.carried.delivered_bytes == 100_000


def test_packets_take_as_long_as_was_said_and_never_overtake_each_other():
    took = sent(way(delay_seconds=0.1, jitter_seconds=0.05), 1000)
    assert min(took) >= 0.1
    assert max(took) <= 0.15 + 1e-9
    assert max(took) - min(took) > 0.04

    crowded = way(jitter_seconds=0.05)
    for number in range(200):
        crowded.take(bytes([number]), number * 1e-4)
    assert crowded.arrived(1.0) == [bytes([number]) for number in range(200)]


def test_a_share_of_packets_is_lost_each_by_itself_and_the_seed_says_which():
    lossy = way(loss_ratio=0.05)
    sent(lossy, 20_000)
    assert lossy.carried.lost == 20_000 - lossy.carried.delivered
    assert abs(lossy.carried.lost - 1000) < 5 * (20_000 * 0.05 * 0.95) ** 0.5  # five standard deviations, with one fixed seed
    again = way(loss_ratio=0.05)
    sent(again, 20_000)
    assert again.carried == lossy.carried


def test_a_rate_is_kept_to_the_byte_and_what_does_not_fit_the_queue_is_lost():
    narrow = way(bits_per_second=80_000, queue_bytes=5000)  # ten packets a second, five of them waiting behind the one under way
    for _ in range(20):
        narrow.take(PACKET, 0.0)
    assert narrow.carried.overflowed == 14
    assert [len(narrow.arrived(0.1 * second + 1e-9)) for second in range(1, 8)] == [1, 1, 1, 1, 1, 1, 0]
    narrow.take(PACKET, 1.0)
    assert narrow.next_arrival == pytest.approx(1.1)


def test_a_way_that_is_cut_loses_what_comes_and_what_is_under_way_until_it_is_mended():
    cable = way(delay_seconds=0.5)
    cable.take(PACKET, 0.0)
    cable.change(Conditions(is_cut=True))
    cable.take(PACKET, 0.1)
    assert cable.next_arrival is None
    assert cable.carried.cut == 2

    cable.change(Conditions())
    cable.take(PACKET, 0.2)
    assert cable.arrived(1.0) == [PACKET]


def test_what_is_under_way_is_bounded_also_without_a_rate():
    long = way(delay_seconds=10.0)
    for _ in range(MOST_BYTES_UNDER_WAY // len(PACKET) + 10):
        long.take(PACKET, 0.0)
    assert long.carried.overflowed == 10
