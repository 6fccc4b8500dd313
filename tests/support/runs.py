"""Short links for whole-pipeline tests: fast to emulate, long enough for key."""

from common.channel.codec import Party
from common.cli.offline import OfflineRun, distil_offline, system_or_seeded
from common.emulator.eavesdropper import Eavesdropper
from common.emulator.link import Emulation, emulate
from common.profiles.link import LinkProfile, load_profile

SHORT_NIEDERSACHSEN = (
    "channel.loss_db=10",
    "security.block_bits=40000",
    "security.frame_pulses=228000",
    "receiver.gate_ps=3000",
    "channel.misalignment=0.01",
)
SHORT_NIEDERSACHSEN_SECONDS = 0.25

SHORT_HBN = ("channel.loss_db=6", "security.block_bits=60000", "security.frame_pulses=10000", "security.epsilon_secrecy=1e-8")
SHORT_HBN_SECONDS = 62.0

SHORT_HEFEI = ("channel.loss_db=8", "security.block_bits=1000000", "security.frame_pulses=761300")
SHORT_HEFEI_SECONDS = 1.0

SHORT_DECOY = ("security.block_bits=300000", "security.frame_pulses=1000000")
SHORT_DECOY_SECONDS = 0.3

SHORT_TIMEBIN = ("channel.loss_db=12", "security.block_bits=1000000")
SHORT_TIMEBIN_SECONDS = 320.0


def short_niedersachsen(*settings: str) -> LinkProfile:
    return load_profile("niedersachsen", [*SHORT_NIEDERSACHSEN, *settings])


def short_hbn(*settings: str) -> LinkProfile:
    return load_profile("hbn", [*SHORT_HBN, *settings])


def distilled(profile: LinkProfile, seconds: float, seed: int, eve: Eavesdropper | None = None) -> tuple[Emulation, OfflineRun]:
    emulation = emulate(profile, seconds, seed, eve)
    return emulation, distil_offline(profile, emulation.emission, emulation.tags, system_or_seeded(seed))


def keys_are_identical(run: OfflineRun) -> bool:
    stores = run.stores
    return stores[Party.ALICE].committed == stores[Party.BOB].committed == stores[Party.ALICE].held == stores[Party.BOB].held
