"""Greetings of the peer, before there is a session: which are right, which were played back, and what a wrong one means.

What is remembered here outlives sessions; the driver of each session asks.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from dataclasses import dataclass, field

from common.channel.authentication import MAC_BYTES, GreetingSeal
from common.channel.codec import Party, decode
from common.channel.messages import Hello, Message
from common.errors import AuthenticationError
from common.observability.logs import SparingLogger

MOST_GREETINGS = 4096
"""Greetings remembered, so that none is answered twice."""

GREETING_SEQUENCES = (1, 2)
"""Numbers of an end's messages in a greeting: one opens or answers, the other confirms."""

BAD_STARTS = 3
"""Greetings that have to fail in the same way, before any ever succeeded, until the start counts as a bad one."""

DIFFERENT = "compare authentication.secret of both ends (qkd provision writes the same to both), or somebody holds the channel keys"
"""What to do about a greeting whose code is wrong."""

MEDDLER = "the connection is the peer's, what it carries is not: renew the channel keys and secrets of both ends"
"""What to do about forged words on an encrypted channel."""


@dataclass(slots=True)
class GreetingDesk:
    """What has to be remembered about greetings from one session to the next.

    Attributes
    ----------
    seal : GreetingSeal
        Of the provisioned secrets.
    party : Party
        Which end we are.
    count_refused : int
        Greetings with a wrong code.
    count_repeated : int
        Right greetings that had come before: somebody plays back what he overheard.
    count_notices : int
        Notices with a wrong code, and frames that are nothing we know.
    has_agreed : bool
        Whether any session of this process was ever agreed on; until then a peer that cannot be understood is a bad start.
    log : SparingLogger
        For what anybody who can write to the channel can bring about, session after session.
    """

    seal: GreetingSeal
    party: Party
    count_refused: int = 0
    count_repeated: int = 0
    count_notices: int = 0
    has_agreed: bool = False
    log: SparingLogger = field(default_factory=lambda: SparingLogger("driver"))
    _answered: OrderedDict[bytes, None] = field(default_factory=OrderedDict)

    def opened(self, data: bytes) -> Message | None:
        """Return the message of a greeting whose code is right; where the code of ``data`` is wrong it is counted, and None comes back."""
        body, code = data[:-MAC_BYTES], data[-MAC_BYTES:]
        for sequence in GREETING_SEQUENCES:
            with contextlib.suppress(AuthenticationError):
                self.seal.check(self.party.peer, sequence, body, code)
                return decode(body).message
        self.count_refused += 1
        return None

    def refuse_notice(self) -> None:
        """Count a notice with a wrong code, or a frame of an unknown kind."""
        self.count_notices += 1
        self.log.warning("notice refused", refused=self.count_notices, advice=MEDDLER)

    def is_new(self, hello: Hello) -> bool:
        """Say whether ``hello`` has never been answered; a repeated one is counted."""
        if hello.nonce in self._answered:
            self.count_repeated += 1
            return False
        return True

    def answer(self, hello: Hello) -> None:
        """Remember ``hello`` as answered."""
        self._answered[hello.nonce] = None
        if len(self._answered) > MOST_GREETINGS:
            self._answered.popitem(last=False)
