"""How long a link needs for key that is missing: the missing bits, by the rate at which the link makes key, by the pool's share of it."""

from __future__ import annotations

from common.errors import KeyExhaustedError
from common.keystore.ownership import OwnershipRule, Pool


def share_of(rule: OwnershipRule, pool: Pool) -> float:
    """Return which share of new key goes to ``pool`` once the reserve of ``rule`` is full."""
    pools = [each for each in Pool if each.asker is not None]
    return dict(zip(pools, rule.weights, strict=True)).get(pool, 0) / sum(rule.weights)


def seconds_to_make(missing_bits: int, bits_per_second: float | None, rule: OwnershipRule, pool: Pool) -> float | None:
    """Say how long a link needs for missing key.

    Parameters
    ----------
    missing_bits : int
        What is missing.
    bits_per_second : float | None
        Secret bits that the link makes in a second of the clock on the wall, all pools together; None before there is a rate.
    rule : OwnershipRule
        How they are shared out.
    pool : Pool
        Where they are missing.

    Returns
    -------
    float | None
        Seconds; None where no key comes at present.
    """
    rate = (bits_per_second or 0.0) * share_of(rule, pool)
    return missing_bits / rate if rate > 0 else None


def explained(short: KeyExhaustedError, wait_seconds: float | None) -> KeyExhaustedError:
    """Add to an error how long the link needs.

    Parameters
    ----------
    short : KeyExhaustedError
        Says how much is missing.
    wait_seconds : float | None
        How long the link needs for it; None where no key comes at present.

    Returns
    -------
    KeyExhaustedError
        Says both, in words and as numbers.
    """
    wait = "no key comes at present" if wait_seconds is None else f"about {wait_seconds:.0f} s at the present rate"
    return KeyExhaustedError(f"{short}; {wait}", missing_bits=short.missing_bits, wait_seconds=wait_seconds)
