"""The rules of ETSI GS QKD 014, request by request."""

import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.delivery.openapi import description
from common.delivery.refusals import RefusalError
from common.delivery.rules import KeyRequest, Limits, Target, extension_message, judged, key_ids, key_request, target_of

LIMITS = Limits()
TARGET = Target("enc_keys", "sae-bob")


def posted(body):
    return key_request(TARGET, "POST", (), body if isinstance(body, bytes) else json.dumps(body).encode(), LIMITS)


def got(*query):
    return key_request(TARGET, "GET", query, b"", LIMITS)


def refusal_of(call, *arguments):
    with pytest.raises(RefusalError) as caught:
        call(*arguments)
    body = caught.value.body
    assert set(body) == {"message", "details"}
    assert all(isinstance(entry, dict) for entry in body["details"])
    json.dumps(body)
    return caught.value.status, caught.value.message


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/v1/keys/sae-bob/status", Target("status", "sae-bob")),
        ("/api/v1/keys/a%20b/enc_keys", Target("enc_keys", "a b")),
        ("/api/v1/keys/a%2Fb/dec_keys", Target("dec_keys", "a/b")),
        ("/api/v1/keys/sae-bob/keys", None),
        ("/api/v1/keys/sae-bob", None),
        ("/api/v1/keys//status", None),
        ("/api/v1/keys/a/b/status", None),
        ("/api/v2/keys/a/status", None),
        ("/", None),
        ("", None),
    ],
)
def test_a_path_names_an_application_and_what_is_asked(path, target):
    assert target_of(path) == target


@pytest.mark.parametrize("name", ["%0A", "%00", "%ff", "a" * 201])
def test_what_cannot_be_a_name_is_refused(name):
    status, _ = refusal_of(target_of, f"/api/v1/keys/{name}/status")

    assert status == 400


def test_an_empty_request_means_all_defaults():
    assert posted(b"") == posted({}) == got() == KeyRequest(1, 256, ("sae-bob",))


def test_unknown_members_are_ignored():
    assert posted({"number": 2, "colour": "red"}) == got(("number", "2"), ("colour", "red")) == KeyRequest(2, 256, ("sae-bob",))


@pytest.mark.parametrize(
    "body", [b"{", b"nonsense", b"\xff", b"[1]", b"null", b"3", b'{"number":1,"number":2}', b'{"size":NaN}', b"[" * 100_000]
)
def test_a_body_that_is_no_json_object_is_never_taken_for_defaults(body):
    assert refusal_of(posted, body)[0] == 400


@pytest.mark.parametrize("value", [True, 1.0, "1", None, [1], 1 << 40, -1, 0, 129])
def test_a_number_of_keys_that_is_none_is_refused(value):
    assert refusal_of(posted, {"number": value})[0] == 400


@pytest.mark.parametrize("size", [8, 16, 256, 8192])
def test_every_size_of_whole_bytes_within_the_limits_is_served(size):
    assert posted({"size": size}).size_bits == got(("size", str(size))).size_bits == size


@pytest.mark.parametrize("size", [1, 7, 9, 8191, 8193])
def test_a_size_of_broken_bytes_has_its_fixed_text(size):
    assert refusal_of(posted, {"size": size}) == (400, "size shall be a multiple of 8")


@pytest.mark.parametrize("size", [0, -8, 8200])
def test_a_size_outside_the_limits_is_refused(size):
    assert refusal_of(posted, {"size": size}) == (400, "size shall be 8 to 8192")


@pytest.mark.parametrize(
    "query", [(("size", "8"), ("size", "16")), (("number", "x"),), (("number", "1e1"),), (("number", ""),), (("size", "-8"),)]
)
def test_a_query_that_is_wrong_is_refused(query):
    assert refusal_of(got, *query)[0] == 400


def test_a_get_takes_number_and_size_and_nothing_else():
    assert got(("additional_slave_SAE_IDs", "x"), ("size", "64")) == KeyRequest(1, 64, ("sae-bob",))


def test_further_applications_share_the_keys_each_named_once():
    assert posted({"additional_slave_SAE_IDs": ["c", "sae-bob", "c"]}).slaves == ("sae-bob", "c")


@pytest.mark.parametrize("names", ["c", [1], [""], ["a\nb"], ["a\0b"], [f"sae-{n}" for n in range(9)], None, {"a": 1}])
def test_further_applications_that_are_none_are_refused(names):
    assert refusal_of(posted, {"additional_slave_SAE_IDs": names})[0] == 400


def test_a_mandatory_extension_that_is_not_known_has_its_fixed_text():
    assert refusal_of(posted, {"extension_mandatory": [{"hop_count": 1}]}) == (400, "not all extension_mandatory parameters are supported")


@pytest.mark.parametrize("asked", [{"epsilon_secrecy_at_most": 1e-20}, {"provenance": "yes"}, {"epsilon_secrecy_at_most": True}])
def test_a_mandatory_extension_that_cannot_be_met_has_its_fixed_text(asked):
    assert refusal_of(posted, {"extension_mandatory": [asked]}) == (400, "not all extension_mandatory request options could be met")


def test_a_bound_on_epsilon_is_held_against_the_key_that_is_left():
    bound = {"epsilon_secrecy_at_most": 1e-9}
    condition, wish = (posted({name: [bound]}) for name in ("extension_mandatory", "extension_optional"))

    assert judged(condition, 1e-9) == condition
    assert judged(wish, 1e-9).unhandled == ()
    assert refusal_of(judged, condition, 1e-6) == (400, "not all extension_mandatory request options could be met")
    assert judged(wish, 1.0).unhandled == ("epsilon_secrecy_at_most",)
    assert judged(posted({}), 1.0) == posted({})


def test_extensions_that_are_met():
    asked = posted({"extension_mandatory": [{"provenance": True}, {"epsilon_secrecy_at_most": 1e-9}], "extension_optional": []})

    assert asked.provenance
    assert extension_message(asked) is None


def test_an_optional_extension_that_is_not_handled_is_said_beside_the_keys():
    asked = posted({"extension_optional": [{"colour": 1}, {"provenance": True}]})

    assert asked.provenance
    assert extension_message(asked) == {
        "message": "not all extension_optional request options handled",
        "details": [{"unhandled": ["colour"]}],
    }


@pytest.mark.parametrize("value", ["x", [1], 5, None])
def test_extensions_that_are_none_are_refused(value):
    assert refusal_of(posted, {"extension_optional": value})[0] == 400


IDS = [str(uuid.UUID(int=n)) for n in range(3)]


def asked_for(listed):
    return key_ids("POST", (), json.dumps(listed).encode(), LIMITS)


def test_key_ids_come_in_the_order_asked_for():
    asked = {"key_IDs": [{"key_ID": name, "key_ID_extension": {}} for name in reversed(IDS)]}

    assert asked_for(asked) == tuple(uuid.UUID(name).bytes for name in reversed(IDS))
    assert key_ids("GET", [("key_ID", IDS[1].upper())], b"", LIMITS) == (uuid.UUID(IDS[1]).bytes,)


@pytest.mark.parametrize(
    "listed",
    [
        {},
        {"key_IDs": []},
        {"key_IDs": IDS},
        {"key_IDs": [{}]},
        {"key_IDs": [{"key_ID": 5}]},
        {"key_IDs": [{"key_ID": IDS[0]}, {"key_ID": IDS[0].upper()}]},
        {"key_IDs": [{"key_ID": str(uuid.UUID(int=n))} for n in range(129)]},
    ],
)
def test_key_ids_that_are_none_are_refused(listed):
    assert refusal_of(asked_for, listed)[0] == 400


@pytest.mark.parametrize("name", ["", "x", IDS[0][:-1], "{" + IDS[0] + "}", IDS[0].replace("-", "")])
def test_what_is_no_number_of_a_key_is_a_key_that_is_not_here(name):
    assert refusal_of(asked_for, {"key_IDs": [{"key_ID": name}]}) == (400, "one or more keys specified are not found on KME")


def test_an_empty_body_asks_for_no_keys():
    assert refusal_of(key_ids, "POST", (), b"", LIMITS)[0] == 400
    assert refusal_of(key_ids, "GET", (), b"", LIMITS)[0] == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.sampled_from(["number", "size", "additional_slave_SAE_IDs", "extension_mandatory", "extension_optional", "key_IDs", "key_ID"])


@given(st.binary(max_size=60) | st.dictionaries(MEMBERS, JSON, max_size=4).map(lambda tree: json.dumps(tree).encode()))
def test_whatever_is_sent_is_understood_within_the_limits_or_refused(body):
    for asked in (understood(key_request, TARGET, "POST", (), body, LIMITS), understood(key_ids, "POST", (), body, LIMITS)):
        if isinstance(asked, RefusalError):
            assert asked.status == 400
        elif isinstance(asked, KeyRequest):
            assert 1 <= asked.number <= LIMITS.max_key_per_request
            assert 8 <= asked.size_bits <= LIMITS.max_key_size
            assert asked.size_bits % 8 == 0


def understood(read, *arguments):
    try:
        return read(*arguments)
    except RefusalError as refusal:
        return refusal


def test_the_description_says_what_the_rules_say():
    described = description(LIMITS)
    schemas = described["components"]["schemas"]

    assert set(described["paths"]) == {
        "/api/v1/keys/{slave_SAE_ID}/status",
        "/api/v1/keys/{slave_SAE_ID}/enc_keys",
        "/api/v1/keys/{master_SAE_ID}/dec_keys",
    }
    assert schemas["KeyRequest"]["properties"]["size"]["maximum"] == LIMITS.max_key_size
    assert schemas["KeyIDs"]["properties"]["key_IDs"]["maxItems"] == LIMITS.max_key_per_request
