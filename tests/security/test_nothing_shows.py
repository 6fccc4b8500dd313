"""Nothing that is printed, logged or raised while sessions run and break holds a piece of a secret."""

import base64
import traceback

import pytest

from common.channel.codec import Party
from tests.support.adversaries import Disturbed, MacHolder, StopAt, Stopped, replacing
from tests.support.links import World
from tests.support.scenarios import world

PIECE_BYTES = 6
"""A shorter piece could turn up by chance: one of six bytes does so in a megabyte of text with probability below 1e-8."""


def pieces(link: World):
    """Every stretch of ``PIECE_BYTES`` of every secret both ends have."""
    secrets = [link.secrets.authentication_secret, link.secrets.hash_key, link.secrets.masks]
    secrets += [key.to_bytes() for store in link.stores.values() for key in store.held.values()]
    return {secret[start : start + PIECE_BYTES] for secret in secrets for start in range(len(secret) - PIECE_BYTES + 1)}


def shown(link: World, texts: list[str]):
    """Pieces that appear in the texts in any of the usual ways to write bytes."""
    text = "\n".join(texts)
    writings = (bytes.hex, lambda p: base64.b64encode(p).decode()[:8], lambda p: repr(p)[2:-1], lambda p: str(list(p))[1:-1])
    return [piece for piece in pieces(link) if any(writing(piece) in text for writing in writings)]


class Listener:
    """Takes down the repr of every output, as a careless log would."""

    def __init__(self, stop: int | None = None):
        self.texts: list[str] = []
        self._stop = StopAt(stop)

    def __call__(self, party, output, moment):
        self.texts.append(f"{party!r} {output!r} {output} {moment}")
        self._stop(party, output, moment)


def broken(index):
    def change(envelope):
        return [type(envelope)(**{name: getattr(envelope, name) for name in envelope.__slots__} | {"heard": 2**40})]

    return replacing(index, change)


@pytest.mark.parametrize("scenario", ["ldpc", "cascade"])
def test_no_secret_shows_in_errors_tracebacks_or_reprs(scenario):
    link, texts = world(scenario), []
    count = len(world(scenario).session(most_blocks=1).sent)
    for index in {*range(2, 10), *range(count - 10, count)}:
        for wire in (Disturbed("drop", index), MacHolder(link.secrets, broken(index))):
            listener = Listener()
            link = world(scenario)
            for store in link.stores.values():
                store.keep_masks(index % 3)
            run = link.session(wire, listener, most_blocks=2)
            texts = listener.texts
            for session in run.sessions.values():
                texts += [repr(session), *map(repr, session.outcomes)]
                if session.failure:
                    texts += traceback.format_exception(session.failure)
            texts += [repr(link.secrets), str(link.secrets), repr(run.rehearsal), *(repr(run.rehearsal._ends[party]) for party in Party)]
            assert not shown(link, texts)
    assert sum(map(len, texts)) > 1000


def test_no_secret_shows_when_the_power_goes():
    for index in range(100, 130):
        listener, link = Listener(index), world("ldpc")
        with pytest.raises(Stopped) as stopped:
            link.session(interrupter=listener, most_blocks=1)
        assert not shown(link, [*listener.texts, *traceback.format_exception(stopped.value)])


def test_the_search_would_find_what_it_looks_for():
    link = world("ldpc")
    link.session(most_blocks=1)
    key = link.stores[Party.ALICE].held[1].to_bytes()

    for text in (key.hex(), repr(key), base64.b64encode(key).decode(), str(list(key)), link.secrets.masks[40:80].hex()):
        assert shown(link, [text])
