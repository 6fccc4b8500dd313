"""Bob's playbook: which half of each step he plays.

Here, and in ``alice.playbook``, is the only place where it matters who is who.
"""

from __future__ import annotations

from bob.live import LiveDetectionStation
from bob.station import DetectionStation
from common.conversation.effects import Conversation
from common.conversation.session import welcome
from common.distillation.amplification import agree_length, take_seed
from common.distillation.commitment import confirm_keys
from common.distillation.disclosure import disclose
from common.distillation.link_session import Greeting
from common.distillation.monitoring import exchange_verdicts
from common.distillation.pace import Pace
from common.distillation.playbook import Playbook
from common.distillation.recipe import Recipe
from common.distillation.reconciliation.choice import choose
from common.distillation.reconciliation.methods import METHODS
from common.distillation.sifting import announce
from common.distillation.synchronisation import Frames, report_clock
from common.distillation.verification import check_hash

GREETING: Greeting = welcome
"""Bob listens, so he welcomes."""


def playbook(recipe: Recipe, station: DetectionStation | LiveDetectionStation, pace: Pace) -> Playbook:
    """Choose Bob's halves.

    Parameters
    ----------
    recipe : Recipe
        Method and direction of reconciliation.
    station : DetectionStation | LiveDetectionStation
        His detections, recorded or as they arrive.
    pace : Pace
        Chooses the method of reconciliation where the recipe leaves that open.

    Returns
    -------
    Playbook
        To be run against ``alice.playbook.playbook`` of the same recipe.
    """
    halves = {name: {"direct": method.correcting, "reverse": method.reference}[recipe.direction] for name, method in METHODS.items()}

    def synchronise(shared: Recipe) -> Conversation[Frames]:
        frames = yield from report_clock(station.sacrifice)
        station.matched(frames, shared.frame_pulses)
        return frames

    return Playbook(
        synchronise=synchronise,
        sift=lambda shared, progress: announce(shared, progress, station.take),
        disclose=disclose,
        choose=lambda shared, working_qber: choose(shared, working_qber, pace.method),
        reconcile=halves,
        monitor=lambda blocks: exchange_verdicts(station.judge, blocks),
        verify=check_hash,
        agree_length=agree_length,
        amplify=take_seed,
        commit=confirm_keys,
    )
