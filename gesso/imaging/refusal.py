"""The error that says why an image from outside cannot be used."""

from gesso.errors import BadRequest, Problem


def refused(sentence: str, value: str | None = None) -> BadRequest:
    """`sentence` continues the parameter's name; `value` is what was sent, where showing it helps."""
    return BadRequest.of([Problem("image", value, sentence)])
