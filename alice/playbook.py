"""Alice's playbook: which half of each step she plays.

Here, and in ``bob.playbook``, is the only place where it matters who is who.
"""

from __future__ import annotations

from alice.live import LiveEmissionStation
from alice.station import EmissionStation
from common.conversation.session import greet
from common.distillation.amplification import draw_seed, propose_length
from common.distillation.commitment import propose_keys
from common.distillation.disclosure import tally
from common.distillation.link_session import Greeting
from common.distillation.monitoring import exchange_verdicts, nothing_watched
from common.distillation.playbook import Playbook
from common.distillation.recipe import Recipe
from common.distillation.reconciliation.choice import follow
from common.distillation.reconciliation.methods import METHODS
from common.distillation.sifting import sift
from common.distillation.synchronisation import match_slots
from common.distillation.verification import send_hash

GREETING: Greeting = greet
"""Alice connects, so she greets first."""


def playbook(recipe: Recipe, station: EmissionStation | LiveEmissionStation) -> Playbook:
    """Choose Alice's halves.

    Parameters
    ----------
    recipe : Recipe
        Method and direction of reconciliation.
    station : EmissionStation | LiveEmissionStation
        Her emission record, whole or growing.

    Returns
    -------
    Playbook
        To be run against ``bob.playbook.playbook`` of the same recipe.
    """
    halves = {name: {"direct": method.reference, "reverse": method.correcting}[recipe.direction] for name, method in METHODS.items()}
    return Playbook(
        synchronise=lambda shared: match_slots(shared, station.first_slot, station.count_slots, station.find_offset),
        sift=lambda shared, progress: sift(shared, progress, station.look_up),
        disclose=tally,
        choose=lambda shared, _working_qber: follow(shared),
        reconcile=halves,
        monitor=lambda blocks: exchange_verdicts(nothing_watched, blocks),
        verify=send_hash,
        agree_length=propose_length,
        amplify=draw_seed,
        commit=propose_keys,
    )
