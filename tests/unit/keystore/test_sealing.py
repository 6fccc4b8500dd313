"""Keys at rest: what can be opened, by whom, and where the master key may come from."""

import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigurationError
from common.keystore.sealing import DamagedSealError, MasterKey, load_master_key, seal, unseal

KEY = bytes(range(32))
MASTER = MasterKey(KEY)


def test_what_is_sealed_opens_again():
    wrapped, sealed = seal(MASTER, b"secret", b"place")
    assert unseal(MASTER, wrapped, sealed, b"place") == b"secret"
    assert b"secret" not in wrapped + sealed


def test_two_seals_of_the_same_key_share_nothing():
    assert len({part for _ in range(50) for part in seal(MASTER, b"secret", b"place")}) == 100


@given(st.integers(0, 59), st.integers(0, 21), st.integers(0, 7))
def test_any_changed_bit_keeps_it_shut(of_wrapped, of_sealed, bit):
    wrapped, sealed = (bytearray(part) for part in seal(MASTER, b"secret", b"place"))
    for part, byte in ((wrapped, of_wrapped), (sealed, of_sealed)):
        part[byte] ^= 1 << bit
        with pytest.raises(DamagedSealError):
            unseal(MASTER, bytes(wrapped), bytes(sealed), b"place")
        part[byte] ^= 1 << bit


def test_it_opens_in_its_place_and_with_its_master_key_only():
    wrapped, sealed = seal(MASTER, b"secret", b"place")
    other = seal(MASTER, b"secret", b"place")
    for master, key, piece, place in (
        (MASTER, wrapped, sealed, b"elsewhere"),
        (MasterKey.draw(), wrapped, sealed, b"place"),
        (MASTER, other[0], sealed, b"place"),
        (MASTER, b"", sealed, b"place"),
        (MASTER, wrapped, b"", b"place"),
    ):
        with pytest.raises(DamagedSealError):
            unseal(master, key, piece, place)


def test_the_master_key_shows_nothing_and_is_not_pickled():
    assert repr(MASTER) == "MasterKey()"
    with pytest.raises(TypeError):
        pickle.dumps(MASTER)


def opens(master):
    return unseal(master, *seal(MASTER, b"secret", b""), b"") == b"secret"


def written(path, data=KEY, mode=0o600):
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("data", [KEY, KEY.hex().encode(), KEY.hex().encode() + b"\n"])
def test_a_file_of_ours_is_read(tmp_path, data):
    written(tmp_path / "master.key", data)
    assert opens(load_master_key("master.key", tmp_path))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_may_read_is_refused(tmp_path, mode):
    written(tmp_path / "master.key", mode=mode)
    with pytest.raises(ConfigurationError, match="can be read by others"):
        load_master_key("master.key", tmp_path)


@pytest.mark.parametrize("data", [b"", b"short", KEY + b"x", b"zz" * 32])
def test_a_file_that_is_no_key_is_refused_and_not_quoted(tmp_path, data):
    written(tmp_path / "master.key", data)
    with pytest.raises(ConfigurationError, match="32 bytes") as refused:
        load_master_key("master.key", tmp_path)
    assert not data or data.decode("latin-1") not in str(refused.value)


def test_what_is_missing_or_no_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"master\.key"):
        load_master_key("master.key", tmp_path)
    (tmp_path / "folder").mkdir(mode=0o700)
    with pytest.raises(ConfigurationError, match="folder"):
        load_master_key("folder", tmp_path)


def test_a_systemd_credential_is_read(tmp_path, monkeypatch):
    written(tmp_path / "store-key", mode=0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert opens(load_master_key("credential:store-key", tmp_path / "elsewhere"))


def test_a_credential_may_have_an_access_list_and_no_other_readers(tmp_path, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    written(tmp_path / "store-key", mode=0o440)
    assert opens(load_master_key("credential:store-key", tmp_path))
    (tmp_path / "store-key").chmod(0o444)
    with pytest.raises(ConfigurationError, match="read by others"):
        load_master_key("credential:store-key", tmp_path)


@pytest.mark.parametrize("name", ["", "../store-key", "a/b"])
def test_a_credential_is_a_plain_name(tmp_path, monkeypatch, name):
    written(tmp_path / "store-key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(ConfigurationError):
        load_master_key(f"credential:{name}", tmp_path)


def test_without_systemd_there_is_no_credential(tmp_path, monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigurationError, match="LoadCredential"):
        load_master_key("credential:store-key", tmp_path)


def test_an_environment_variable_is_read_and_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("QKD_MASTER", KEY.hex())
    assert opens(load_master_key("env:QKD_MASTER", tmp_path))
    assert "QKD_MASTER" not in os.environ
    with pytest.raises(ConfigurationError, match="QKD_MASTER"):
        load_master_key("env:QKD_MASTER", tmp_path)
