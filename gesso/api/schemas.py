"""The schemas of what goes out: pictures, quotes and errors, as `gesso.api` writes them."""

from typing import Any

from gesso.api.problems import ANSWERS

Schema = dict[str, Any]

BINARY: Schema = {"type": "string", "format": "binary"}

HEADERS = (
    ("x-request-id", "string", "The id of this request, as in the server's log."),
    ("x-cost", "number", "What was charged, in credits; in a quote, what would be."),
    ("x-remaining-credits", "number", "What the account has left."),
    ("x-generation-time", "number", "Seconds of painting."),
    ("x-seed-value", "integer", "The seed of the first picture; the others' follow one by one."),
    (
        "x-output-metadata",
        "string",
        "JSON: `width`, `height` and number (`samples`) of the pictures; `timings`: seconds of waiting (`queue`), "
        "of the engine's work (`encode`, `denoise`, `decode`) and of storing (`write`); `company`: how many images "
        "shared a step with these, on average and counting these.",
    ),
    ("x-ignored-parameters", "string", "The fields of the request that mean nothing here, where there were any."),
    ("x-image-urls", "string", "With an image as the reply: the addresses of the stored pictures."),
)

RATE_HEADERS = (
    (
        "x-rate-limit-remaining",
        "integer",
        "Where the key or its account has a rate: how many requests would be taken at once. Of two rates, the tighter.",
    ),
    ("x-rate-limit-reset-at-utc", "string", "The same: when there will be a place for one more, in ISO 8601."),
)


def _object(properties: Schema) -> Schema:
    """All of its properties are always there."""
    return {"type": "object", "required": list(properties), "properties": properties}


_ONE_OR_MORE: Schema = {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}

PICTURES = _object(
    {
        "status": {"const": "Success"},
        "image": _ONE_OR_MORE | {"description": "URL, or base64 if that was asked for; a list where samples > 1."},
        "seed": {"type": "integer"},
        "infer_time": {"type": "number", "description": "Seconds."},
        "request_id": {"type": "string"},
        "images": {
            "type": "array",
            "items": _object(
                {
                    "url": {"type": "string", "format": "uri"},
                    "seed": {"type": "integer"},
                    "width": {"type": "integer"},
                    "height": {"type": "integer"},
                }
            ),
        },
        "cost": {"type": "number", "description": "Credits."},
        "remaining_credits": {"type": "number"},
        "ignored": {"type": "array", "items": {"type": "string"}},
    }
)

QUOTE = _object(
    {
        "status": {"const": "Quote"},
        "cost": {"type": "number", "description": "Credits that the request would be charged now."},
        "cost_per_image": {"type": "number", "description": "Credits."},
        "samples": {"type": "integer"},
        "width": {"type": "integer"},
        "height": {"type": "integer"},
        "steps": {"type": "integer"},
        "remaining_credits": {"type": "number", "description": "What the account has now."},
        "affordable": {"type": "boolean", "description": "Whether that is enough."},
        "ignored": {"type": "array", "items": {"type": "string"}},
        "request_id": {"type": "string"},
    }
)

PROBLEM = _object(
    {
        "error": {"type": "string", "description": "One sentence."},
        "code": {"type": "string", "enum": sorted({one.code for one in ANSWERS.values()})},
        "request_id": {"type": "string"},
        "details": {
            "type": "array",
            "items": _object({"parameter": {"type": "string"}, "value": {}, "problem": {"type": "string"}}),
        },
    }
)
