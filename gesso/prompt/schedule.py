"""Which text a prompt is at which step of a run."""

import math

from gesso.errors import BadRequest, Problem
from gesso.prompt.grammar import Alternation, Nodes, Switch, read


def texts(text: str, steps: int, parameter: str) -> list[tuple[int, str]]:
    """The last step (from 1) and the text of each stretch of a run, in order; neighbours may be equal.

    Raises BadRequest where a schedule's number, or its product with the steps, is too large to be one.
    """
    nodes = read(text)
    ends = sorted({steps, *_ends(nodes, steps, parameter)})
    return [(end, _text_at(nodes, end, steps, parameter)) for end in ends]


def _ends(nodes: Nodes, steps: int, parameter: str) -> set[int]:
    ends: set[int] = set()
    waiting = [nodes]
    while waiting:
        for node in waiting.pop():
            if isinstance(node, Switch):
                ends.add(_last_step_before(node, steps, parameter))
                waiting += [node.before, node.after]
            elif isinstance(node, Alternation):
                ends.update(range(1, steps + 1))
                waiting += node.options
    return {end for end in ends if end >= 1}


def _text_at(nodes: Nodes, step: int, steps: int, parameter: str) -> str:
    words: list[str] = []
    waiting = list(reversed(nodes))
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            words.append(node)
        elif isinstance(node, Alternation):
            waiting += reversed(node.options[(step - 1) % len(node.options)])
        else:
            waiting += reversed(node.before if step <= _last_step_before(node, steps, parameter) else node.after)
    return "".join(words)


def _last_step_before(switch: Switch, steps: int, parameter: str) -> int:
    """A number written with a point is a share of the run, any other one a step; both are cut to whole steps."""
    number = float(switch.when) * (steps if "." in switch.when else 1)
    if not math.isfinite(number):
        problem = f"the schedule's number {_short(switch.when)} is too large; a step or a share of the steps is allowed"
        raise BadRequest.of([Problem(parameter, _short(switch.when), problem)])
    return min(steps, int(number))


def _short(number: str) -> str:
    return number if len(number) <= 20 else f"{number[:20]}..."
