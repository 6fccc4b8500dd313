"""Intensities of detected pulses, packed: said after detection, for the rounds that are kept, and counted.

An intensity is a small number, so a batch of them is a few planes of bits, one a binary digit, in the order of the detections. Rounds that
are not kept have zeros in all planes: nothing is said about them. Links of one intensity have no planes. Called by ``sifting``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.bits import Bits, count_bytes
from common.errors import RemoteProtocolError
from common.kernels.matching import look_up_settings
from common.kernels.sifting import select_bytes
from common.protocols.protocol import Protocol

Planes = tuple[Bits, ...]
"""Binary digits of the intensities, lowest first; as long as the batch."""


def intensity_planes(protocol: Protocol, settings: NDArray[np.uint8], kept: Bits) -> Planes:
    """Look up what is said about intensities.

    Parameters
    ----------
    protocol : Protocol
        Intensity of each setting.
    settings : uint8[n]
        What was sent.
    kept : Bits
        Rounds that are kept, n bits.

    Returns
    -------
    Planes
        Two of n bits, or none where there is one intensity.
    """
    if protocol.count_intensities == 1:
        return ()
    low, high = (tuple(index >> digit & 1 for index in protocol.setting_intensities) for digit in (0, 1))
    return tuple(Bits(plane.words & kept.words, kept.count) for plane in look_up_settings(settings, low, high))


def planes_from_bytes(protocol: Protocol, data: bytes, kept: Bits) -> Planes:
    """Read intensities off the wire.

    Parameters
    ----------
    protocol : Protocol
        How many intensities there are.
    data : bytes
        The planes, one after the other.
    kept : Bits
        Rounds that are kept.

    Returns
    -------
    Planes
        As at the other end.

    Raises
    ------
    RemoteProtocolError
        If their length does not fit, a round is named that is not kept, or there is no such intensity.
    """
    size, count_planes = count_bytes(kept.count), 2 if protocol.count_intensities > 1 else 0
    if len(data) != count_planes * size:
        raise RemoteProtocolError(f"intensities of {kept.count} detections take {count_planes * size} bytes, received {len(data)}")
    planes = tuple(Bits.from_bytes(data[size * digit : size * (digit + 1)], kept.count) for digit in range(count_planes))
    unknown = [chosen for index, chosen in enumerate(_masks(planes, kept.words)) if index >= protocol.count_intensities]
    if any(np.any(plane.words & ~kept.words) for plane in planes) or any(np.any(chosen) for chosen in unknown):
        raise RemoteProtocolError("intensities: one is named of a round that is not kept, or there is none of this number")
    return planes


def planes_to_bytes(planes: Planes) -> bytes:
    """Return ``planes`` as they are sent."""
    return b"".join(plane.to_bytes() for plane in planes)


def count_by_intensity(protocol: Protocol, planes: Planes, mask: NDArray[np.uint64]) -> tuple[int, ...]:
    """Count chosen rounds by intensity.

    Parameters
    ----------
    protocol : Protocol
        How many intensities there are.
    planes : Planes
        Of a batch.
    mask : uint64[words]
        Packed choice among its rounds, its unused rest zero.

    Returns
    -------
    tuple[int, ...]
        One count for each intensity; empty where there is one.
    """
    if not planes:
        return ()
    return tuple(int(np.bitwise_count(chosen).sum()) for chosen in _masks(planes, mask)[: protocol.count_intensities])


def chosen_intensities(planes: Planes, mask: Bits) -> NDArray[np.uint8]:
    """Return the intensities of the rounds of ``mask`` in order, uint8[n]; empty where there are no ``planes``."""
    if not planes:
        return np.zeros(0, np.uint8)
    numbers = planes[0].to_flags() | planes[1].to_flags() << np.uint8(1)
    return select_bytes(numbers, mask)


def _masks(planes: Planes, mask: NDArray[np.uint64]) -> list[NDArray[np.uint64]]:
    """Chosen rounds of each number that the planes can write."""
    if not planes:
        return []
    low, high = planes[0].words, planes[1].words
    return [mask & ~low & ~high, mask & low & ~high, mask & ~low & high, mask & low & high]
