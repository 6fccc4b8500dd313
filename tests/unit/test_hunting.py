"""The hunter for key bytes can fail: it finds eight planted bytes in every form, and nothing where nothing is."""

import base64
import json
import random

import pytest

from tests.support.hunting import Hunter

CHANCE = random.Random(4)
SECRETS = {"one": CHANCE.randbytes(32), "other": CHANCE.randbytes(5000)}
PART = SECRETS["other"][1001:1009]

FORMS = {
    "raw": PART,
    "hexadecimal": PART.hex().encode(),
    "upper case": PART.hex().upper().encode(),
    "hexadecimal after a digit": b"0" + PART.hex().encode(),
    "base64": base64.b64encode(PART),
    "base64 in a longer one": base64.b64encode(b"?" + PART + b"?!"),
    "base64 for addresses": base64.urlsafe_b64encode(b"??" + PART),
    "representation": repr(PART).encode(),
    "JSON text": json.dumps(PART.decode("latin-1")).encode(),
    "JSON list": json.dumps(list(PART)).encode(),
    "text": PART.decode("latin-1").encode(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("noise", [0, 7, 4096])
def test_eight_planted_bytes_are_found_in_every_form(form, noise):
    around = random.Random(noise).randbytes(noise)

    assert Hunter(SECRETS).found_in(around + b" " + FORMS[form] + b" " + around) == {"other"}


def test_a_place_is_named_with_what_it_holds():
    places = [("log", b"nothing"), ("file", SECRETS["one"]), ("picture", b"x" * 100)]

    assert Hunter(SECRETS).found_among(places) == {("file", "one")}


def test_noise_and_seven_bytes_are_not_a_find():
    assert not Hunter(SECRETS).found_in(random.Random(9).randbytes(1 << 20) + PART[:7] + b"." + PART[:7].hex().encode() + b".")
