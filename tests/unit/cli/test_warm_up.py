"""Which kernels are known to be compiled."""

from common.cli import warm_up
from common.profiles.link import load_profile


def test_a_stamp_holds_for_one_method_one_receiver_and_one_processor(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(warm_up, "_play", lambda _profile: None)
    cascade, ldpc = load_profile("niedersachsen"), load_profile("hbn")

    assert warm_up.is_cold(cascade)
    warm_up.warm_up(cascade)

    assert not warm_up.is_cold(cascade)
    assert not warm_up.is_cold(load_profile("niedersachsen", ["channel.loss_db=3"]))
    assert warm_up.is_cold(ldpc)
    monkeypatch.setattr(warm_up, "_processor", lambda: "another one")
    assert warm_up.is_cold(cascade)


def test_where_nothing_can_be_written_there_is_no_stamp(tmp_path, monkeypatch):
    (tmp_path / "cache").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(warm_up, "_play", lambda _profile: None)
    profile = load_profile("niedersachsen")

    warm_up.warm_up(profile)

    assert warm_up.is_cold(profile)
