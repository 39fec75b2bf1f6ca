"""Which text a prompt is at which step of a run."""

import math
from bisect import bisect_left
from dataclasses import dataclass, field

from gesso.errors import BadRequest, Problem
from gesso.prompt.grammar import Alternation, Nodes, Switch, read


def texts(text: str, steps: int, parameter: str) -> list[tuple[int, str]]:
    """The last step (from 1) and the text of each stretch of a run, in order; neighbours may be equal.

    Raises BadRequest where a schedule's number, or its product with the steps, is too large to be one.
    """
    nodes = read(text)
    rhythm = _rhythm(nodes, steps, parameter)
    said: dict[tuple[int, int], str] = {}
    for step in rhythm.ends(steps):
        if rhythm.moment(step) not in said:
            said[rhythm.moment(step)] = _text_at(nodes, step, steps, parameter)
    return [(step, said[rhythm.moment(step)]) for step in rhythm.ends(steps)]


@dataclass(slots=True)
class _Rhythm:
    """When a text can change: after which steps its switches do, and after how many all alternations begin anew."""

    switched_after: list[int] = field(default_factory=list)
    period: int = 1

    def ends(self, steps: int) -> list[int]:
        """The last steps of the stretches of a run."""
        if self.period > 1:
            return list(range(1, steps + 1))
        return sorted({steps, *(step for step in self.switched_after if step >= 1)})

    def moment(self, step: int) -> tuple[int, int]:
        """Steps of the same moment have the same text."""
        return step % self.period, bisect_left(self.switched_after, step)


def _rhythm(nodes: Nodes, steps: int, parameter: str) -> _Rhythm:
    rhythm = _Rhythm()
    waiting = [nodes]
    while waiting:
        for node in waiting.pop():
            if isinstance(node, Switch):
                rhythm.switched_after.append(_last_step_before(node, steps, parameter))
                waiting += [node.before, node.after]
            elif isinstance(node, Alternation):
                rhythm.period = math.lcm(rhythm.period, len(node.options))
                waiting += node.options
    rhythm.switched_after.sort()
    return rhythm


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
