"""Eve's ear on the classical channel: which slots became key, as everybody can hear."""

import numpy as np

from common.bits import Bits
from common.channel.authentication import MAC_BYTES
from common.channel.codec import Envelope, Party, decode
from common.channel.messages import DetectionAnnouncement, FrameRange, SiftingReply
from common.conversation.rehearsal import faithful
from common.kernels.gaps import decode_gaps


class Listener:
    """Carries everything unchanged and keeps what is said in the open."""

    def __init__(self) -> None:
        self.heard: list[Envelope] = []

    def wire(self, sender: Party, data: bytes):
        self.heard.append(decode(data[:-MAC_BYTES]))
        return faithful(sender, data)

    def key_slots(self, frame_pulses: int, block: int) -> np.ndarray:
        """The slots of a block's key bits: announced, kept and not disclosed."""
        frames = next(envelope.message for envelope in self.heard if isinstance(envelope.message, FrameRange) and envelope.message.found)
        said = [envelope.message for envelope in self.heard if envelope.block == block]
        announcements = [message for message in said if isinstance(message, DetectionAnnouncement)]
        replies = [message for message in said if isinstance(message, SiftingReply)]
        parts = []
        for announced, reply in zip(announcements, replies, strict=True):
            start = frames.first_slot + announced.first_frame * frame_pulses
            end = start + len(announced.count_per_frame) * frame_pulses
            slots = decode_gaps(announced.gaps, reply.count_detections, start, end)
            kept, tested = (Bits.from_bytes(flags, slots.size).to_flags() for flags in (reply.kept, reply.tested))
            parts.append(slots[(kept == 1) & (tested == 0)])
        return np.concatenate(parts)
