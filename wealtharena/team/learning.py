"""All families learn from the same fragments: one after the other in this process, at the same time in their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

Lesson = Callable[[], list[Any]]
"""A family's updates of one iteration; gives RLlib's results of them."""


@dataclass(frozen=True)
class Learnt:
    """What came of a lesson.

    Attributes:
        results: RLlib's, one for each call of the Learners.
        seconds: How long it took.
    """

    results: list[Any]
    seconds: float


def learn(lessons: Mapping[str, Lesson], *, at_once: bool) -> dict[str, Learnt]:
    """Gives every family its lesson.

    Lessons at the same time have a thread each, which waits for Learners in other processes. They must share no state
    and draw from no generator of the process, but those of their own: then what is learnt does not depend on which of
    them comes first.

    Args:
        lessons: family -> its lesson.
        at_once: Whether they run at the same time.

    Returns:
        family -> what came of it, in the order of ``lessons``.
    """
    if not at_once:
        return {family: _timed(lesson) for family, lesson in lessons.items()}
    with ThreadPoolExecutor(len(lessons)) as pool:
        threads = {family: pool.submit(_timed, lesson) for family, lesson in lessons.items()}
    return {family: thread.result() for family, thread in threads.items()}


def _timed(lesson: Lesson) -> Learnt:
    begun = time.perf_counter()
    results = lesson()
    return Learnt(results, time.perf_counter() - begun)
