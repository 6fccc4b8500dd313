"""The description of the interface, OpenAPI 3.0, made from the rules; the node serves it, the documentation shows it, a fuzzer reads it."""

from __future__ import annotations

from typing import Any

from common.delivery.rules import MOST_EPSILON, PROVENANCE, Limits
from common.keystore.orders import MOST_SAE_LETTERS

_UUID = {"type": "string", "format": "uuid", "minLength": 36, "maxLength": 36}
_INT32 = {"type": "integer", "format": "int32", "minimum": 0}


def description(limits: Limits) -> dict[str, Any]:
    """Describe the interface.

    Parameters
    ----------
    limits : Limits
        What may be asked for.

    Returns
    -------
    dict
        An OpenAPI document.
    """
    number = {"type": "integer", "minimum": 1, "maximum": limits.max_key_per_request, "default": 1}
    size = {
        "type": "integer",
        "minimum": limits.min_key_size,
        "maximum": limits.max_key_size,
        "multipleOf": 8,
        "default": limits.key_size,
    }
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Keys for applications",
            "version": "1.1.1",
            "description": "ETSI GS QKD 014 V1.1.1. Mutual TLS 1.2 or later; the certificate says which SAE asks.",
        },
        "paths": {
            "/api/v1/keys/{slave_SAE_ID}/status": {
                "get": _operation("status", "slave_SAE_ID", "How many keys there are for an SAE at the other end.", "Status")
            },
            "/api/v1/keys/{slave_SAE_ID}/enc_keys": {
                "get": _operation(
                    "enc_keys_get",
                    "slave_SAE_ID",
                    "Keys to be shared with an SAE at the other end.",
                    "KeyContainer",
                    [_query("number", number), _query("size", size)],
                ),
                "post": _operation("enc_keys", "slave_SAE_ID", "The same, with more to choose from.", "KeyContainer", body="KeyRequest"),
            },
            "/api/v1/keys/{master_SAE_ID}/dec_keys": {
                "get": _operation(
                    "dec_keys_get",
                    "master_SAE_ID",
                    "A key that an SAE at the other end was given, by its number.",
                    "KeyContainer",
                    [_query("key_ID", _UUID, required=True)],
                ),
                "post": _operation("dec_keys", "master_SAE_ID", "Several keys, in the order asked for.", "KeyContainer", body="KeyIDs"),
            },
        },
        "components": {"schemas": _schemas(limits, number, size)},
    }


def _schemas(limits: Limits, number: dict[str, Any], size: dict[str, Any]) -> dict[str, Any]:
    extension = {
        "type": "object",
        "properties": {PROVENANCE: {"type": "boolean"}, MOST_EPSILON: {"type": "number", "minimum": limits.epsilon_secrecy}},
    }
    mandatory = _listed_or_alone(extension | {"additionalProperties": False})
    optional = _listed_or_alone({"type": "object"})
    names = {"type": "array", "maxItems": limits.max_sae_id_count, "items": _sae()}
    texts = ("source_KME_ID", "target_KME_ID", "master_SAE_ID", "slave_SAE_ID")
    counts = ("key_size", "stored_key_count", "max_key_count", "max_key_per_request", "max_key_size", "min_key_size", "max_SAE_ID_count")
    return {
        "Status": {
            "type": "object",
            "required": [*texts, *counts],
            "properties": {name: {"type": "string"} for name in texts}
            | dict.fromkeys(counts, _INT32)
            | {"status_extension": {"type": "object"}},
        },
        "KeyRequest": {
            "type": "object",
            "properties": {
                "number": number,
                "size": size,
                "additional_slave_SAE_IDs": names,
                "extension_mandatory": mandatory,
                "extension_optional": optional,
            },
        },
        "KeyIDs": {
            "type": "object",
            "required": ["key_IDs"],
            "properties": {
                "key_IDs": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": limits.max_key_per_request,
                    "uniqueItems": True,
                    "items": {"type": "object", "required": ["key_ID"], "properties": {"key_ID": _UUID}},
                }
            },
        },
        "KeyContainer": {
            "type": "object",
            "required": ["keys"],
            "properties": {
                "keys": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["key_ID", "key"],
                        "properties": {"key_ID": _UUID, "key": {"type": "string", "format": "byte"}, "key_extension": {"type": "object"}},
                    },
                },
                "key_container_extension": {"type": "object"},
            },
        },
        "Error": {
            "type": "object",
            "required": ["message", "details"],
            "properties": {"message": {"type": "string"}, "details": {"type": "array", "items": {"type": "object"}}},
        },
    }


def _listed_or_alone(extension: dict[str, Any]) -> dict[str, Any]:
    """Extensions are a list of objects; some clients send one object, which is understood as well."""
    return {"oneOf": [{"type": "array", "items": extension}, extension]}


def _operation(
    name: str, sae: str, summary: str, answer: str, queries: list[dict[str, Any]] | None = None, body: str | None = None
) -> dict[str, Any]:
    refused = {
        "400": "The request cannot be understood, or asks for what there is not.",
        "401": "The certificate stands for no SAE, or for one that may not have the key.",
        "404": "No such resource.",
        "405": "No such method.",
        "408": "The body came too slowly.",
        "413": "The body is too long.",
        "503": "At present there is not enough key, or the other KME is away, or this SAE asks too often or too much.",
    }
    path = {"name": sae, "in": "path", "required": True, "schema": _sae()}
    content = {"required": body == "KeyIDs", "content": _json(body)} if body else None
    return {
        "operationId": name,
        "summary": summary,
        "parameters": [path, *(queries or [])],
        **({"requestBody": content} if content else {}),
        "responses": {"200": {"description": summary, "content": _json(answer)}}
        | {status: {"description": text, "content": _json("Error")} for status, text in refused.items()},
    }


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _query(name: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _sae() -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": MOST_SAE_LETTERS}
