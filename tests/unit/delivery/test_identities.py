"""Certificates and the applications they stand for; how often these may ask."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
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


def test_a_request_for_much_counts_as_several_and_one_for_more_than_all_is_allowed_after_a_pause():
    now = [0.0]
    rates = Rates(1.0, 10.0, lambda: now[0])

    assert [rates.allow("one", 6.0), rates.allow("one", 6.0), rates.allow("one", 4.0), rates.allow("one", 1.0)] == [
        True,
        False,
        True,
        False,
    ]
    now[0] = 9.0
    assert not rates.allow("one", 1000.0)
    now[0] = 10.0
    assert rates.allow("one", 1000.0)


def test_a_certificate_with_names_of_a_kind_that_nobody_reads_is_known_by_its_fingerprint():
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "odd")])
    x400_address = bytes.fromhex("3006a3043002 0500".replace(" ", ""))
    encoded = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, x400_address), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    shown = Certificate.of(encoded)

    assert (shown.names, shown.common_name) == (frozenset(), "odd")
    assert identities(sae={"first": {"fingerprints": [shown.fingerprint]}}).sae_of(shown) == "first"


def test_a_name_is_no_uri_and_a_uri_no_name():
    known = identities(sae={"first": {"names": ["one.example", "urn:one"]}})
    shown = [
        Certificate("00" * 32, frozenset(names), frozenset(uris), None, 0.0)
        for names, uris in ((["one.example"], []), ([], ["urn:one"]), ([], ["one.example"]), (["urn:one"], []))
    ]

    assert [known.sae_of(one) for one in shown] == ["first", "first", None, None]
