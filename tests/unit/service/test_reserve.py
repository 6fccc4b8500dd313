"""What a running node says about its authentication reserve, and how it takes in fresh masks."""

import dataclasses

import pytest

from common.channel.authentication import ChannelSecrets
from common.channel.codec import Party
from common.keystore.masks import GENERATION_PAIRS, ProvisionedMasks
from common.keystore.memory import MemoryKeyStore
from common.randomness import SeededRandomness
from common.service import reserve
from common.service.credentials import masks_to_bytes

SECRETS = ChannelSecrets.draw(SeededRandomness(1, "reserve"), 8)


class Log:
    def __init__(self):
        self.lines = []

    def __getattr__(self, level):
        return lambda event, **_fields: self.lines.append((level, event))


@pytest.fixture
def log(monkeypatch):
    lines = Log()
    monkeypatch.setattr(reserve, "logger", lambda _name: lines)
    return lines


@pytest.fixture
def watch(tmp_path, log):
    assert not log.lines
    return reserve.ReserveWatch(SECRETS, tmp_path / "renewal.secret")


def written(path, content):
    beside = path.with_name("beside")
    beside.write_bytes(content)
    beside.chmod(0o600)
    beside.replace(path)


def test_every_change_is_said_once(watch, log):
    levels = MemoryKeyStore(Party.ALICE, masks=ProvisionedMasks(SECRETS.masks)).levels()
    for low, empty in ((False, False), (True, False), (True, False), (True, True), (False, False), (False, False)):
        watch.note(dataclasses.replace(levels, reserve_low=low, reserve_empty=empty))

    assert log.lines == [
        ("warning", "authentication reserve low"),
        ("error", "authentication reserve empty: no block can be authenticated"),
        ("info", "authentication reserve refilled"),
    ]


def test_fresh_masks_are_taken_in_once(watch, tmp_path, log):
    store = MemoryKeyStore(Party.ALICE, masks=ProvisionedMasks(SECRETS.masks))
    assert not watch.take_in(store)
    written(tmp_path / "renewal.secret", masks_to_bytes(ProvisionedMasks(bytes(96), 1)))

    assert watch.take_in(store)
    assert not watch.take_in(store)
    assert (store.levels().mask_cursor, store.count_masks) == (GENERATION_PAIRS, GENERATION_PAIRS + 3)
    written(tmp_path / "renewal.secret", masks_to_bytes(ProvisionedMasks(bytes(96), 1)))
    assert not watch.take_in(store), "the same masks again are nothing new"
    assert log.lines == [("info", "renewed masks taken in")]


@pytest.mark.parametrize(("content", "mode"), [(b"short", 0o600), (bytes(8 + 31), 0o600), (bytes(8 + 32), 0o644)])
def test_a_file_that_is_wrong_is_said_once_and_the_node_goes_on(watch, tmp_path, log, content, mode):
    store = MemoryKeyStore(Party.ALICE, masks=ProvisionedMasks(SECRETS.masks))
    written(tmp_path / "renewal.secret", content)
    (tmp_path / "renewal.secret").chmod(mode)
    for _ in range(2):
        assert not watch.take_in(store)

    assert log.lines == [("error", "renewed masks not taken in")]
    written(tmp_path / "renewal.secret", masks_to_bytes(ProvisionedMasks(bytes(96), 1)))
    assert watch.take_in(store)


def test_masks_that_become_readable_later_are_taken_in(watch, tmp_path, log):
    store = MemoryKeyStore(Party.ALICE, masks=ProvisionedMasks(SECRETS.masks))
    written(tmp_path / "renewal.secret", masks_to_bytes(ProvisionedMasks(bytes(96), 1)))
    (tmp_path / "renewal.secret").chmod(0o644)

    assert not watch.take_in(store)
    (tmp_path / "renewal.secret").chmod(0o600)
    assert watch.take_in(store)
    assert [level for level, _ in log.lines] == ["error", "info"]
