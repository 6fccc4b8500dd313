"""How much key a link gives: any source, loss, block, protocol and proof, finite or endless, in one answer.

Composable points put the expected counts of ``link_model`` through the formula that decides live keys; paper points put the textbook
channel through the publication's formula. ``compared`` gives both formulas the same counts, and each its own leakage. Takes a
``LinkProfile``; serves ``qkd rate``, the optimiser and the figures.

References
----------
``docs/howto/plan-a-link``, ``docs/explanation/proofs``; status: planning.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from common.errors import ConfigurationError
from common.planning.counts import pulses_for_block
from common.planning.lengths import Mode, composable_yield
from common.planning.link_model import LinkModel, link_model
from common.planning.paper_lengths import paper_proof, paper_yield
from common.planning.settings import entries
from common.planning.textbook import textbook_model
from common.profiles.setting import three_state_setting
from common.protocols.protocol import find_protocol
from common.security.proofs.registry import require_composable

if TYPE_CHECKING:
    from common.profiles.link import LinkProfile

Value = float | int | str | list[float]

_DECIDING = ("source", "channel", "receiver", "security")
"""Sections whose entries decide a point."""

_OF_NO_ACCOUNT = frozenset(
    {
        "channel.delay_ps",
        "channel.delay_swing_ps",
        "channel.delay_period_s",
        "channel.fading_time_s",
        "receiver.tagger_resolution_ps",
        "receiver.clock_offset_ppm",
        "receiver.clock_wander_ppm",
        "receiver.sync_divider",
        "receiver.sync_detection_probability",
        "security.proof",
        "security.paper_proof",
    }
)
"""Entries of them that do not."""

_BEYOND_TEXTBOOK = frozenset({"source.lifetime_ps", "channel.fading_sigma_db", "receiver.dead_time_ps", "receiver.jitter_ps"})
"""Entries the textbook channel does not know."""


@dataclass(frozen=True, slots=True)
class RatePoint:
    """One answer of the planner.

    Attributes
    ----------
    link, source, protocol, proof : str
        Names; the source is ``single-photon`` or ``decoy``.
    mode : str
        ``composable`` or ``paper``.
    title : str
        The proof, in a line for people.
    channel_model : str
        ``link`` (shape of the pulse, gate, dead time, fading and coincidences included) or ``textbook``.
    loss_db : float
        Loss of the channel, decibels.
    block_bits, pulses : int | None
        Sifted key bits the block aims at, and pulses until it closes; None for an endless block.
    secret_bits_per_pulse, secret_bits_per_second : float
        The latter over wall-clock time, duty cycle included.
    secret_bits : float | int | None
        Of the block; None for an endless one.
    qber : dict[str, float]
        Expected QBER by basis.
    phase_error_bound, multi_photon_bound : float | None
        Ratio within the untagged key clicks, and tagged share of the key clicks.
    detection_probability : float
        Probability that a pulse gives an announced click in one basis.
    parameters : dict
        The entries of the profile that decided, and the reconciliation efficiency.
    ledger : dict[str, float]
        Bits by item, deductions negative; of the block, or of a pulse of an endless one. It adds up to the secret bits.
    reason, bound : str
        Why there is no key, and the bound that failed in words; empty where there is key.
    notes : tuple[str, ...]
        What one should know to read the numbers.
    """

    link: str
    source: str
    protocol: str
    proof: str
    mode: str
    title: str
    channel_model: str
    loss_db: float
    block_bits: int | None
    pulses: int | None
    secret_bits_per_pulse: float
    secret_bits_per_second: float
    secret_bits: float | None
    qber: dict[str, float]
    phase_error_bound: float | None
    multi_photon_bound: float | None
    detection_probability: float
    parameters: dict[str, Value]
    ledger: dict[str, float]
    reason: str = ""
    bound: str = ""
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the point ready for JSON, by the names of its fields."""
        return asdict(self)


def rate_point(profile: LinkProfile, *, mode: Mode = "composable", asymptotic: bool = False, block_bits: int | None = None) -> RatePoint:
    """Expect the key of a link.

    Parameters
    ----------
    profile : LinkProfile
        Any link.
    mode : str
        ``composable``, with the full link model, or ``paper``, with the textbook channel.
    asymptotic : bool
        For an endless block.
    block_bits : int | None
        Sifted key bits of a block; None takes the profile's.

    Returns
    -------
    RatePoint
        With ledger and, where there is no key, the reason.

    Raises
    ------
    ConfigurationError
        If a parameter makes no sense, or the proof does not fit; the message names it.

    References
    ----------
    ``docs/howto/plan-a-link``; status: planning.
    """
    if mode == "composable":
        require_composable(profile.protocol, profile.security.proof)  # refuses before anything is computed
        return _point(profile, link_model(profile), mode, asymptotic=asymptotic, block_bits=block_bits)
    if mode != "paper":
        raise ConfigurationError(f"proof {mode!r}: choose composable or paper")
    paper_proof(profile)
    return _point(profile, textbook_model(profile), mode, full=False, asymptotic=asymptotic, block_bits=block_bits)


def compared(profile: LinkProfile, *, asymptotic: bool = False, block_bits: int | None = None) -> tuple[RatePoint, RatePoint]:
    """Give both formulas the same expected counts, those of the full link model.

    Each is charged with its own leakage, the publication's with what the publication says its code leaks: that, too, is its claim.

    Parameters
    ----------
    profile : LinkProfile
        Any link.
    asymptotic : bool
        For an endless block.
    block_bits : int | None
        Sifted key bits of a block; None takes the profile's.

    Returns
    -------
    (composable, paper)
        Two points that differ in nothing but the formula and the leakage it is charged with.

    Raises
    ------
    ConfigurationError
        If a parameter makes no sense, or a proof does not fit; the message names it.

    References
    ----------
    ``docs/explanation/proofs``; status: planning.
    """
    model = link_model(profile)
    composable = _point(profile, model, "composable", asymptotic=asymptotic, block_bits=block_bits)
    return composable, _point(profile, model, "paper", asymptotic=asymptotic, block_bits=block_bits)


def _point(profile: LinkProfile, model: LinkModel, mode: Mode, *, full: bool = True, asymptotic: bool, block_bits: int | None) -> RatePoint:
    if asymptotic and block_bits is not None:
        raise ConfigurationError(f"security.block_bits = {block_bits}: an asymptotic rate has no block, leave one of the two out")
    security, source = profile.security, profile.source
    pulses = None if asymptotic else pulses_for_block(profile, model, block_bits)
    found = (composable_yield if mode == "composable" else paper_yield)(profile, model, pulses)
    per_pulse = found.secret_bits / pulses if pulses else found.secret_bits
    wanted = None if asymptotic else security.block_bits if block_bits is None else block_bits
    parameters = _parameters(profile, full=full) | {"reconciliation.efficiency": found.efficiency}
    if wanted is None:
        del parameters["security.block_bits"]
    else:
        parameters["security.block_bits"] = wanted
    return RatePoint(
        link=profile.name,
        source="single-photon" if source.kind == "single-photon" else "decoy",
        protocol=profile.protocol,
        proof=found.proof,
        mode=mode,
        title=found.title,
        channel_model="link" if full else "textbook",
        loss_db=profile.channel.loss_db,
        block_bits=wanted,
        pulses=pulses,
        secret_bits_per_pulse=per_pulse,
        secret_bits_per_second=per_pulse * source.clock_hz * source.duty_cycle,
        secret_bits=None if asymptotic else found.secret_bits,
        qber={"Z": model.z.qber, "X": model.x.qber},
        phase_error_bound=found.phase_error_bound,
        multi_photon_bound=found.multi_photon_bound,
        detection_probability=model.probability_detection,
        parameters=parameters,
        ledger=found.ledger,
        reason=found.reason,
        bound=found.bound,
        notes=_notes(profile, mode, pulses, wanted, found.ledger.get("sifted key bits", 0.0)),
    )


def _parameters(profile: LinkProfile, *, full: bool) -> dict[str, Value]:
    """Entries that decide the point; lists where the profile has several values."""
    found = {}
    for name, value in entries(profile).items():
        section = name.partition(".")[0]
        if section not in _DECIDING or name in _OF_NO_ACCOUNT or value in (None, ()) or (not full and name in _BEYOND_TEXTBOOK):
            continue
        found[name] = list(value) if isinstance(value, tuple) else value
    states = ("source.state_angles_deg", "source.state_uncertainty_deg")
    if not profile.protocol.startswith("three-state"):
        for name in states:
            found.pop(name)
    return found


def _notes(profile: LinkProfile, mode: Mode, pulses: int | None, wanted: int | None, sifted: float) -> tuple[str, ...]:
    notes = []
    source, security = profile.source, profile.security
    if source.kind == "single-photon" and source.on_fraction == 1.0:
        notes.append("blinking not included: source.on_fraction is 1")
    if mode == "composable" and len(find_protocol(profile.protocol).settings) == 3:
        uncertainty = three_state_setting(profile).states.uncertainty
        angles = "/".join(f"{angle:g}" for angle in source.state_angles_deg)
        notes.append(
            f"states of {angles} degrees, "
            + (f"certified within {source.state_uncertainty_deg:g} degrees" if uncertainty else "taken as certified exactly")
        )
    if pulses is not None and wanted is not None and pulses == security.maximum_frames * security.frame_pulses and sifted < wanted:
        notes.append(f"the block closes after security.maximum_frames = {security.maximum_frames} with {sifted:.0f} key bits")
    if profile.monitors is None or not profile.monitors.ranges:
        notes.append("no monitor stops the key if a device leaves what this profile says of it: give certified ranges (table monitors)")
    return tuple(notes)
