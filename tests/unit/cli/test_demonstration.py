"""What ``qkd demo`` prepares: a folder nobody else's key is lost from, a picture that fits, and what is wanted of the link."""

import fcntl
import os

import pytest
from PIL import Image

from common.cli.demonstration import (
    MARK,
    PAD_SHARE,
    SHARES,
    demonstration_folder,
    pad_bits,
    prepare_picture,
    room_bits,
    wanted_bits,
)
from common.cli.processes import MODULES
from common.errors import ConfigurationError
from common.keystore.ownership import BlockFacts, OwnershipRule, Pool, share_out


def test_a_folder_is_made_and_what_an_earlier_demonstration_left_is_removed(tmp_path):
    out = tmp_path / "out"
    (out / "nodes" / "alice").mkdir(parents=True)
    (out / "nodes" / MARK).touch()
    (out / "report.json").write_text('{"picture": {}}')
    (out / "encrypted.png").touch()
    (out / "holiday.jpg").touch()

    with demonstration_folder(out):
        assert {path.name for path in out.iterdir()} == {"holiday.jpg"}


def test_a_key_that_no_demonstration_made_is_left_alone(tmp_path):
    (tmp_path / "alice.key").write_bytes(b"precious")

    with pytest.raises(ConfigurationError, match="--out"), demonstration_folder(tmp_path):
        pass
    assert (tmp_path / "alice.key").read_bytes() == b"precious"


def test_nodes_that_no_demonstration_made_are_left_alone(tmp_path):
    (tmp_path / "nodes" / "alice").mkdir(parents=True)

    with pytest.raises(ConfigurationError, match="--out"), demonstration_folder(tmp_path):
        pass
    assert (tmp_path / "nodes" / "alice").is_dir()


def test_a_folder_that_is_in_use_is_refused(tmp_path):
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    try:
        with pytest.raises(ConfigurationError, match="another demonstration"), demonstration_folder(tmp_path):
            pass
    finally:
        os.close(other)


def test_a_large_photo_is_made_smaller(tmp_path):
    Image.new("RGB", (640, 480), (200, 100, 50)).save(tmp_path / "photo.jpg")
    picture, remark = prepare_picture(tmp_path / "photo.jpg", tmp_path, 48_000)

    assert 40_000 < 24 * picture.width * picture.height <= 48_000
    assert "640 × 480" in remark


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "photo.jpg").write_text("a thousand words")

    with pytest.raises(ConfigurationError, match=r"--image .*photo\.jpg"):
        prepare_picture(tmp_path / "photo.jpg", tmp_path, 48_000)


@pytest.mark.parametrize("size", [(1, 1), (50, 40), (333, 77)])
def test_the_key_that_is_wanted_covers_the_picture_once_it_is_shared_out(size):
    picture = Image.new("RGB", size)
    rule = OwnershipRule(**SHARES)
    shared = share_out(BlockFacts(wanted_bits(picture, None), 0, 1024), rule)

    assert next(part.count_bits for part in shared.parts if part.pool is Pool.ALICE_PAD) >= pad_bits(picture)


def test_more_key_has_room_for_a_larger_picture():
    assert room_bits(None) == 48_000
    assert 800_000 < room_bits(1_000_000) < 1_000_000 * PAD_SHARE


def test_the_fibre_starts_first():
    assert list(MODULES) == ["fibre", "bob", "alice"]
