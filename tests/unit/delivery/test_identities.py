"""Certificates and the applications they stand for; how often these may ask."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from common.cli.certificates import Authority
from common.delivery.identities import Certificate, Identities, SaeFile
from common.delivery.rates import Rates
from common.errors import ConfigurationError

AUTHORITY = Authority("test")


def certificate(name):
    return Certificate.of(x509.load_pem_x509_certificate(AUTHORITY.issue(name).certificate).public_bytes(Encoding.DER))


ONE, TWO = certificate("one.example"), certificate("two.example")


def identities(**file):
    return Identities(SaeFile.model_validate(file))


@pytest.mark.parametrize("how", [{"fingerprints": [ONE.fingerprint]}, {"names": ["one.example"]}, {"common_names": ["one.example"]}])
def test_a_certificate_is_known_by_what_the_map_says_and_others_are_nobody(how):
    known = identities(sae={"first": how})

    assert known.sae_of(ONE) == "first"
    assert known.sae_of(TWO) is None


def test_a_fingerprint_may_be_written_as_openssl_does():
    text = ":".join(ONE.fingerprint[at : at + 2].upper() for at in range(0, 64, 2))

    assert identities(sae={"first": {"fingerprints": [text]}}).sae_of(ONE) == "first"


def test_a_revoked_certificate_is_nobody():
    known = identities(sae={"first": {"names": ["one.example"]}}, revoked={"fingerprints": [ONE.fingerprint]})

    assert known.sae_of(ONE) is None
    assert known.is_revoked(ONE)


def test_a_certificate_of_two_applications_is_nobody():
    known = identities(sae={"first": {"names": ["one.example"]}, "second": {"fingerprints": [ONE.fingerprint]}})

    assert known.sae_of(ONE) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sae.a]\nfingerprints = ['x']\n", "64 hexadecimal digits"),
        ("[sae.a]\nname = 'b'\n", "sae.a.name"),
        ("[sae.a]\nnames = ['x']\n[sae.b]\nnames = ['x']\n", "stands for a and for b"),
        ('[sae."a\\u0001"]\n', "not the name of an application"),
        ("nonsense", "not TOML"),
    ],
)
def test_a_map_that_is_wrong_is_refused_and_says_where(tmp_path, text, said):
    path = tmp_path / "applications.toml"
    path.write_text(text)

    with pytest.raises(ConfigurationError, match=said) as caught:
        Identities.read(path)
    assert str(path) in str(caught.value)


def test_a_map_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="No such file"):
        Identities.read(tmp_path / "applications.toml")


def test_an_application_may_ask_in_bursts_and_then_at_its_rate():
    now = [0.0]
    rates = Rates(10.0, 5.0, lambda: now[0])

    assert [rates.allow("a") for _ in range(7)] == [True] * 5 + [False] * 2
    assert rates.allow("b")
    now[0] += 0.25
    assert [rates.allow("a") for _ in range(3)] == [True, True, False]
