"""Configuration and credentials: everything wrong is named, nothing readable for others is taken."""

from pathlib import Path

import pytest

from alice.settings import AliceSettings
from bob.settings import BobSettings
from common.channel.authentication import ChannelSecrets
from common.errors import ConfigurationError
from common.keystore.masks import ProvisionedMasks
from common.randomness import SeededRandomness
from common.service.credentials import masks_to_bytes, read_channel_keys, read_masks, read_private, read_secrets, secrets_to_bytes
from common.service.settings import NodeSettings, load_settings
from tests.unit.service.nodes import key_pair

GOOD = '[channel]\nconnect = "tcp://127.0.0.1:7701"\n[stream]\naddress = "unix:run/a.sock"\n'


def written(folder, text):
    path = folder / "config.toml"
    path.write_text(text)
    return path


def private(folder, name, content, mode=0o600):
    path = folder / name
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_paths_count_from_the_folder_of_the_file(tmp_path):
    settings = load_settings(written(tmp_path, GOOD), NodeSettings)

    assert settings.resolved(settings.store.path) == tmp_path / "state" / "store.sqlite"


def test_a_file_may_be_a_credential_of_systemd(tmp_path, monkeypatch):
    settings = load_settings(written(tmp_path, GOOD.replace("[stream]", 'secret = "credential:secret"\n[stream]')), NodeSettings)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "shown"))

    assert settings.resolved(settings.channel.secret) == tmp_path / "shown" / "secret"


@pytest.mark.parametrize("name", ["credential:", "credential:../secret", "credential:a/b"])
def test_a_credential_has_a_plain_name(tmp_path, monkeypatch, name):
    settings = load_settings(written(tmp_path, GOOD), NodeSettings)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    with pytest.raises(ConfigurationError, match="no such systemd credential"):
        settings.resolved(Path(name))


def test_without_systemd_there_is_no_credential(tmp_path, monkeypatch):
    settings = load_settings(written(tmp_path, GOOD), NodeSettings)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)

    with pytest.raises(ConfigurationError, match="LoadCredential=secret:FILE"):
        settings.resolved(Path("credential:secret"))


@pytest.mark.parametrize(("mode", "is_read"), [(0o400, True), (0o440, True), (0o444, False)])
def test_a_credential_may_have_an_access_list_and_no_other_readers(tmp_path, monkeypatch, mode, is_read):
    path = private(tmp_path, "secret", bytes(96), mode)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    if is_read:
        assert read_private(path, "authentication secret") == bytes(96)
    else:
        with pytest.raises(ConfigurationError, match="others may read it"):
            read_private(path, "authentication secret")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (GOOD + "typo = 1\n", "stream.typo"),
        (GOOD + "[nodes]\n", "nodes"),
        ('[channel]\nbind = "7701"\n[stream]\naddress = "unix:a"\n', "channel.bind"),
        ('[channel]\nconnect = "tcp://a:1"\n', "stream"),
        (GOOD.replace("unix:", "http:"), "stream.address"),
        (GOOD + "[store]\ncapacity_bits = 0\n", "store.capacity_bits"),
        (GOOD + '[log]\nlevel = "loud"\n', "log.level"),
        ("channel = ", "not TOML"),
    ],
)
def test_a_wrong_key_is_refused_by_name(tmp_path, text, named):
    with pytest.raises(ConfigurationError, match=named):
        load_settings(written(tmp_path, text), NodeSettings)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigurationError, match=r"config\.toml: No such file"):
        load_settings(tmp_path / "config.toml", NodeSettings)


def test_each_end_asks_for_its_half_of_the_channel(tmp_path):
    path = written(tmp_path, GOOD)

    assert load_settings(path, AliceSettings).channel.connect
    with pytest.raises(ConfigurationError, match="say bind"):
        load_settings(path, BobSettings)


def test_only_bob_has_plates_to_turn(tmp_path):
    table = '[stabiliser]\naddress = "unix:run/control.sock"\n'
    bobs = GOOD.replace("connect", "bind")

    assert load_settings(written(tmp_path, GOOD + table), NodeSettings).stabiliser is not None
    assert load_settings(written(tmp_path, bobs), BobSettings).stabiliser is None
    with pytest.raises(ConfigurationError, match="stabiliser: plates and phase shifter are Bob's"):
        load_settings(written(tmp_path, GOOD + table), AliceSettings)


def test_a_secret_that_others_can_read_is_refused(tmp_path):
    path = private(tmp_path, "authentication.secret", bytes(96), 0o640)

    with pytest.raises(ConfigurationError, match="others may read it"):
        read_private(path, "authentication secret")


def test_secrets_read_back_as_they_were_written(tmp_path):
    drawn = ChannelSecrets.draw(SeededRandomness(1), 5)
    read = read_secrets(private(tmp_path, "authentication.secret", secrets_to_bytes(drawn)))

    assert (read.authentication_secret, read.hash_key, read.masks) == (drawn.authentication_secret, drawn.hash_key, drawn.masks)


@pytest.mark.parametrize("length", [0, 63, 64 + 31])
def test_a_secret_of_another_length_is_refused(tmp_path, length):
    with pytest.raises(ConfigurationError, match="provision the link again"):
        read_secrets(private(tmp_path, "authentication.secret", bytes(length)))


def test_renewed_masks_take_the_place_of_the_first_ones(tmp_path):
    drawn = ChannelSecrets.draw(SeededRandomness(1), 5)
    renewed = ProvisionedMasks(bytes(range(64)), 3)

    assert read_masks(drawn, tmp_path / "renewal.secret") == ProvisionedMasks(drawn.masks)
    assert read_masks(drawn, private(tmp_path, "renewal.secret", masks_to_bytes(renewed))) == renewed


def test_a_channel_key_that_is_none_is_refused(tmp_path):
    public, secret = key_pair()
    key, peer = private(tmp_path, "channel.key", secret), private(tmp_path, "peer.pub", public)

    assert read_channel_keys(key, peer).public == public
    with pytest.raises(ConfigurationError, match="a CURVE key has 40"):
        read_channel_keys(private(tmp_path, "short.key", b"abc"), peer)
