"""The JSON schema of a request, made from the same entries that read it.

Documents the canonical forms; that a number may also come as a string is said in words, not in types.
"""

from typing import Any

from gesso.catalogue.entries import Endpoint, Parameter

JSON_TYPES = {"enum": "string", "image": "string", "list": "array"}
TEXT = r"^[^\u0000]*$"
FILLED_TEXT = r"^[^\u0000]*[^\s\u0000][^\u0000]*$"


def request_schema(endpoint: Endpoint) -> dict[str, Any]:
    """The schema (JSON Schema 2020-12) of a body for this endpoint. Other fields are taken, ignored and reported."""
    schema: dict[str, Any] = {
        "type": "object",
        "title": endpoint.name,
        "description": endpoint.description,
        "required": [parameter.name for parameter in endpoint.parameters.values() if parameter.required],
        "properties": {parameter.name: parameter_schema(parameter) for parameter in endpoint.parameters.values()},
        "additionalProperties": True,
    }
    return schema | ({"examples": [dict(endpoint.example)]} if endpoint.example else {})


def parameter_schema(parameter: Parameter) -> dict[str, Any]:
    """The schema of one field in its canonical form."""
    facts = {
        "type": JSON_TYPES.get(parameter.type, parameter.type),
        "description": parameter.description,
        "default": list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default,
        "minimum": parameter.minimum,
        "maximum": parameter.maximum,
        "multipleOf": parameter.multiple_of,
        "enum": list(parameter.choices) or None,
        "maxLength": None if parameter.type == "list" else parameter.longest,
        "maxItems": parameter.longest if parameter.type == "list" else None,
        "items": _object_schema(parameter) if parameter.type == "list" else None,
        "pattern": _pattern(parameter),
    }
    return {key: value for key, value in facts.items() if value is not None}


def _object_schema(parameter: Parameter) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [field.name for field in parameter.fields.values() if field.required],
        "properties": {field.name: parameter_schema(field) for field in parameter.fields.values()},
        "additionalProperties": False,
    }


def _pattern(parameter: Parameter) -> str | None:
    if parameter.type not in ("string", "image"):
        return None
    return FILLED_TEXT if parameter.required else TEXT
