"""``qkd otp`` as it is called."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from common.cli.example_picture import PICTURE_BITS, example_picture
from common.cli.main import run


@pytest.fixture
def keys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    key = np.random.default_rng(5).bytes(20_000)
    for name in ("alice", "bob"):
        path = tmp_path / f"{name}.key"
        path.touch(mode=0o600)
        path.write_bytes(key)
    (tmp_path / "letter.txt").write_text("Meet me at the lake.", encoding="utf-8")
    return tmp_path


def otp(text):
    return run(["otp", *text.split()])


def test_a_letter_goes_there_and_an_answer_comes_back(keys, capsys):
    assert otp("encrypt --key alice.key --in letter.txt --out letter.otp --json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["message_bits"], said["key_bits_spent"]) == (160, 160 + 128)
    assert otp("decrypt --key bob.key --in letter.otp --out read.txt") == 0
    assert otp("encrypt --key bob.key --in read.txt --out answer.otp") == 0
    assert otp("decrypt --key alice.key --in answer.otp --out answer.txt") == 0

    assert (keys / "answer.txt").read_text(encoding="utf-8") == "Meet me at the lake."


def test_the_example_picture_goes_through(keys):
    Image.fromarray(example_picture()).save(keys / "sunset.png")
    assert PICTURE_BITS == 48_000

    assert otp("encrypt --key alice.key --in sunset.png --out noise.png --picture") == 0
    assert otp("decrypt --key bob.key --in noise.png --out seen.png --picture") == 0
    with Image.open(keys / "seen.png") as seen:
        assert np.array_equal(np.asarray(seen), example_picture())


def test_too_little_key_is_exit_status_4_and_says_how_much_is_missing(keys, capsys):
    (keys / "large").write_bytes(bytes(20_000))

    assert otp("encrypt --key alice.key --in large --out large.otp") == 4
    assert "80288 bits short" in capsys.readouterr().err
    assert not (keys / "large.otp").exists()


def test_an_altered_message_is_exit_status_5(keys, capsys):
    otp("encrypt --key alice.key --in letter.txt --out letter.otp")
    data = bytearray((keys / "letter.otp").read_bytes())
    data[70] ^= 4
    (keys / "letter.otp").write_bytes(data)

    assert otp("decrypt --key bob.key --in letter.otp --out read.txt") == 5
    assert "altered" in capsys.readouterr().err
    assert not (keys / "read.txt").exists()


@pytest.mark.usefixtures("keys")
def test_a_replay_is_refused_with_a_reason(capsys):
    otp("encrypt --key alice.key --in letter.txt --out letter.otp")
    otp("decrypt --key bob.key --in letter.otp --out read.txt")

    assert otp("decrypt --key bob.key --in letter.otp --out again.txt") == 1
    assert "decrypted before" in capsys.readouterr().err


def test_a_key_open_to_others_is_exit_status_2(keys, capsys):
    (keys / "alice.key").chmod(0o644)

    assert otp("encrypt --key alice.key --in letter.txt --out letter.otp") == 2
    assert "chmod 600" in capsys.readouterr().err


def test_all_of_the_key_can_be_given_to_one_direction(keys):
    (keys / "large").write_bytes(bytes(19_000))

    assert otp("encrypt --key alice.key --in large --out large.otp --alice-share 1") == 0
    assert otp("decrypt --key bob.key --in large.otp --out read --alice-share 1") == 0
    assert (keys / "read").read_bytes() == bytes(19_000)


def test_a_key_of_any_name_says_whose_it_is(keys):
    shutil.copy(keys / "bob.key", keys / "shared.key")

    assert otp("encrypt --key shared.key --in letter.txt --out letter.otp") == 2
    assert otp("encrypt --key shared.key --end bob --in letter.txt --out letter.otp") == 0
    assert otp("decrypt --key alice.key --in letter.otp --out read.txt") == 0


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("--in letter.txt --out x", "--config FILE for a running node, or --key FILE"),
        ("--key alice.key --config letter.txt --in letter.txt --out x", "--config FILE for a running node, or --key FILE"),
        ("--config letter.txt --end alice --in letter.txt --out x", "--end and --alice-share go with --key"),
        ("--config letter.txt --in letter.txt --out x", "not TOML"),
        ("--key alice.key --in letter.txt --out x --picture --pad-to 64", "--pad-to does not go with --picture"),
    ],
)
def test_options_that_do_not_go_together_are_exit_status_2(arguments, reason, capsys):
    assert otp(f"encrypt {arguments}") == 2
    assert reason in capsys.readouterr().err


def test_the_length_of_a_letter_can_be_hidden(keys, capsysbinary):
    assert otp("encrypt --key alice.key --in letter.txt --out letter.otp --pad-to 512") == 0
    assert (keys / "letter.otp").stat().st_size == 64 + 512 + 16
    assert otp("decrypt --key bob.key --in letter.otp --out -") == 0
    assert capsysbinary.readouterr().out.endswith(b"Meet me at the lake.")


def test_a_letter_in_the_first_format_is_refused_with_the_reason(keys, capsys):
    otp("encrypt --key alice.key --in letter.txt --out letter.otp")
    data = bytearray((keys / "letter.otp").read_bytes())
    data[8] = 1
    (keys / "letter.otp").write_bytes(data)

    assert otp("decrypt --key bob.key --in letter.otp --out read.txt") == 2
    assert "tags can be forged" in capsys.readouterr().err
