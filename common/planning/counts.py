"""Expected counts of a block, by protocol: what the link model says per pulse, times the pulses, rounded.

No statistics are drawn. Serves ``lengths``, which puts them through the formulas that decide live keys.

References
----------
The block rule of ``docs/explanation/assumptions``; status: planning.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from common.blocks import BasisCounts, BlockCounts
from common.errors import ConfigurationError
from common.planning.link_model import LinkModel, link_model
from common.security.proofs.limits import BasisShare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from common.profiles.link import LinkProfile, Security

MOST_BLOCK_BITS = 10**15
"""Block length beyond which nothing is planned: whole numbers leave the range in which floating point counts them."""


def disclosed_shares(security: Security) -> tuple[float, float]:
    """Share of the matched bits of Z and of X that is disclosed.

    Parameters
    ----------
    security : Security
        The profile's section.

    Returns
    -------
    tuple[float, float]
        X is disclosed whole unless both bases make key.

    References
    ----------
    Nothing is computed here; status: planning.
    """
    return security.test_fraction, security.test_fraction if security.key_bases == "both" else 1.0


def pulses_for_block(profile: LinkProfile, model: LinkModel | None = None, block_bits: int | None = None) -> int:
    """Pulses until a block is expected to hold ``block_bits`` undisclosed key-basis bits, in whole frames.

    Parameters
    ----------
    profile : LinkProfile
        Any link.
    model : LinkModel | None
        What happens per pulse; None for :func:`link_model`.
    block_bits : int | None
        In place of the profile's.

    Returns
    -------
    int
        Pulses, a multiple of ``frame_pulses``, at most ``maximum_frames`` frames.

    Raises
    ------
    ConfigurationError
        If no click is ever expected, or the block length makes no sense.

    References
    ----------
    The block rule of ``docs/explanation/assumptions``; status: planning.
    """
    security = profile.security
    bits = security.block_bits if block_bits is None else block_bits
    if not 1 <= bits <= MOST_BLOCK_BITS:
        raise ConfigurationError(f"security.block_bits = {bits}: a block holds 1 to {MOST_BLOCK_BITS:.0e} key bits")
    probability = sum(share.key for share in basis_shares(profile, model or link_model(profile)).values())
    if probability <= 0.0:
        raise ConfigurationError(f"link {profile.name!r}: no key bit is ever expected; check channel.loss_db and the efficiencies")
    frames = min(bits / probability / security.frame_pulses, float(security.maximum_frames))
    return max(1, ceil(frames)) * security.frame_pulses


def expected_counts(profile: LinkProfile, count_pulses: int, model: LinkModel | None = None) -> BlockCounts:
    """Round the expected counts of a block of given length, all intensities together.

    Parameters
    ----------
    profile : LinkProfile
        Any link.
    count_pulses : int
        Pulses from opening to closing the block.
    model : LinkModel | None
        What happens per pulse; None for :func:`link_model`.

    Returns
    -------
    BlockCounts
        All segments taken as reconciled. Errors of the key bits by intensity are those that reconciliation would find.

    References
    ----------
    :func:`link_model`; status: planning.
    """
    model = model or link_model(profile)

    def basis(share: BasisShare) -> BasisCounts:
        tested = round(count_pulses * share.tested)
        key = round(count_pulses * (share.key + share.tested)) - tested
        return BasisCounts(key=key, kept=key, tested=tested, errors=min(tested, round(count_pulses * share.errors)))

    shares = basis_shares(profile, model)
    z = basis(shares["Z"])
    by_intensity, errors = _key_by_intensity(profile, count_pulses, model, z.key) if len(model.pulses) > 1 else ((), ())
    return BlockCounts(
        pulses=count_pulses,
        frames=ceil(count_pulses / profile.security.frame_pulses),
        detections=round(count_pulses * model.probability_detection),
        cross_clicks=round(count_pulses * model.probability_cross),
        z=z,
        x=basis(shares["X"]),
        table=_table(profile, count_pulses, model),
        key_by_intensity=by_intensity,
        key_errors_by_intensity=errors,
    )


def basis_shares(profile: LinkProfile, model: LinkModel) -> dict[str, BasisShare]:
    """Expected key, disclosed bits and errors of each basis per pulse, all intensities together.

    Parameters
    ----------
    profile : LinkProfile
        Any link.
    model : LinkModel
        What happens per pulse.

    Returns
    -------
    dict[str, BasisShare]
        By ``Z`` and ``X``.

    References
    ----------
    :func:`link_model`; status: planning.
    """
    found = {}
    for name, basis, disclosed in zip(("Z", "X"), (model.z, model.x), disclosed_shares(profile.security), strict=True):
        sifted = basis.probability_sifted
        found[name] = BasisShare(sifted * (1.0 - disclosed), sifted * disclosed, sifted * disclosed * basis.qber)
    return found


def decoy_shares(profile: LinkProfile, model: LinkModel) -> tuple[Sequence[float], Sequence[float], Sequence[float], Sequence[float]]:
    """Expected key bits, errors among them, disclosed X bits and errors among them per pulse, by intensity.

    Parameters
    ----------
    profile : LinkProfile
        Any link with decoys.
    model : LinkModel
        What happens per pulse.

    Returns
    -------
    tuple of four sequences of float
        Brightest intensity first.

    References
    ----------
    :func:`link_model`; status: planning.
    """
    kept = 1.0 - disclosed_shares(profile.security)[0]
    sifted = {basis: [_matched(model, intensity, basis) for intensity in range(len(model.pulses))] for basis in (0, 1)}
    return (
        [kept * (right + wrong) for right, wrong in sifted[0]],
        [kept * wrong for _, wrong in sifted[0]],
        [right + wrong for right, wrong in sifted[1]],
        [wrong for _, wrong in sifted[1]],
    )


def x_click_shares(model: LinkModel) -> Mapping[tuple[str, int], Sequence[float]]:
    """Expected clicks in X per pulse by Alice's state and Bob's bit, and by intensity.

    Parameters
    ----------
    model : LinkModel
        Of a three-state protocol.

    Returns
    -------
    mapping of (state, outcome) to sequence of float
        Brightest intensity first.

    References
    ----------
    :func:`link_model`; status: planning.
    """
    joints = [model.joint(intensity) for intensity in range(len(model.pulses))]
    return {
        (state, outcome): [joint[row][2 + outcome] for joint in joints]
        for row, state in enumerate(model.protocol.settings)
        for outcome in (0, 1)
    }


def _matched(model: LinkModel, intensity: int, basis: int) -> tuple[float, float]:
    """Right and wrong bits of a basis per pulse."""
    right = wrong = 0.0
    for setting, row in enumerate(model.joint(intensity)):
        if model.protocol.setting_bases[setting] == basis:
            bit = model.protocol.setting_bits[setting]
            right += row[2 * basis + bit]
            wrong += row[2 * basis + 1 - bit]
    return right, wrong


def _key_by_intensity(profile: LinkProfile, count_pulses: int, model: LinkModel, count_key: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Key bits and errors among them by intensity; the brightest takes what rounding leaves over."""
    key, errors, _, _ = decoy_shares(profile, model)
    others = [round(count_pulses * share) for share in key[1:]]
    bits = (count_key - sum(others), *others)
    return bits, tuple(min(all_, round(count_pulses * share)) for all_, share in zip(bits, errors, strict=True))


def _table(profile: LinkProfile, count_pulses: int, model: LinkModel) -> tuple[tuple[int, ...], ...]:
    """Disclosed rounds by setting and outcome, settings that name an intensity included."""
    disclosed, protocol = disclosed_shares(profile.security), model.protocol
    joints = [model.joint(intensity) for intensity in range(len(model.pulses))]

    def share(setting: int, outcome: int) -> float:
        basis = outcome >> 1
        counts = protocol.setting_bases[setting] == basis or (protocol.counts_all_x and basis == 1)
        return disclosed[basis] if counts else 0.0

    return tuple(
        tuple(round(count_pulses * joint[setting][outcome] * share(setting, outcome)) for outcome in range(4))
        for setting in range(len(protocol.settings))
        for joint in joints
    )
