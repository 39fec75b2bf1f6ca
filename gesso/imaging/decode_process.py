"""The process that decodes strangers' images: `python -m gesso.imaging.decode_process`, spoken to over its pipes.

A question is a length (8 bytes) and a file; an answer is `+`, width, height (4 bytes each) and the RGB rows, or `-`, a
length (4 bytes) and a sentence. Memory is limited for good, processor time anew for each question: beyond it the
kernel ends the process, and `gesso.imaging.decode` starts another. The process ends when its input does.
"""

import contextlib
import math
import resource
import struct
import sys
from typing import BinaryIO

from gesso.errors import BadRequest
from gesso.imaging.raster import read_raster
from gesso.imaging.refusal import refused

MEMORY_LIMIT = 1536 * 2**20
SECONDS_LIMIT = 20

QUESTION = struct.Struct(">Q")
PICTURE = struct.Struct(">cII")
REFUSAL = struct.Struct(">cI")


def main(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the questions end."""
    _limit_memory()
    while header := questions.read(QUESTION.size):
        data = questions.read(*QUESTION.unpack(header))
        _limit_seconds()
        for part in _answer(data):
            answers.write(part)
        answers.flush()


def _answer(data: bytes) -> tuple[bytes, bytes]:
    try:
        image = read_raster(data)
        return PICTURE.pack(b"+", image.width, image.height), image.tobytes()
    except BadRequest as error:
        return _refusal(error)
    except MemoryError:
        return _refusal(refused("needs too much memory to decode"))
    except Exception as error:  # the edge of the loop: a broken file may raise anything in Pillow
        return _refusal(refused(f"is broken and cannot be decoded ({str(error)[:200] or type(error).__name__})"))


def _refusal(error: BadRequest) -> tuple[bytes, bytes]:
    sentence = error.problems[0].problem.encode(errors="replace")
    return REFUSAL.pack(b"-", len(sentence)), sentence


def _limit_memory() -> None:
    with contextlib.suppress(ValueError, OSError):  # some systems know the limit but cannot set it
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_seconds() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime) + SECONDS_LIMIT
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
