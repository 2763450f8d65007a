"""Walk-forward folds: where each one's training ends and its test begins.

The file's two windows, training and then test, are those of the whole walk. The test window is cut into test windows
that follow each other, each with a training window of its own ahead of it. The first of these is the file's. Later
ones end as far ahead of their tests as it does, and begin where it does (``expanding``) or are as long (``rolling``).

Purge (Lopez de Prado 2018, Advances in Financial Machine Learning, 7.4.1 and 12.2): days left out between the end of
a fold's training and the beginning of its test, for what is known only later than it is dated. The market's own
rewards need none: an episode ends with its window, and the reward of its last step with it.

Embargo (7.4.2) keeps the days right after a test out of a training that goes on beyond it. No fold trains on anything
after its own test, so against leakage a forward scheme does not need it (12.2). Here it parts the folds from each
other: the days after a test window are left out by the next fold, in training as in test, so that an aftermath that
reaches beyond the end of a test is not counted again. Later folds train on these days as on all that is past.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from wealtharena.spec import WalkForwardSpec, WindowSpec

Days = npt.NDArray[np.datetime64]

FEWEST_DAYS = 2
"""A window needs a day to begin on and one to step to."""

FEWEST_FOLDS = 2


@dataclass(frozen=True)
class Fold:
    """One team's training and test; the first and the last day of each have a bar.

    Attributes:
        number: Counted from 1.
        seed: Of its team.
        train: The training window.
        test: The test window.
    """

    number: int
    seed: int
    train: WindowSpec
    test: WindowSpec


def plan_folds(
    rule: WalkForwardSpec, days: Days, train: WindowSpec, test: WindowSpec, *, seed: int
) -> tuple[Fold, ...]:
    """Cuts a walk into folds.

    Args:
        rule: How.
        days: The market's calendar: datetime64[D], rising, unique.
        train: The training window of the walk.
        test: The test window of the walk; begins after the training window.
        seed: The experiment's; those of the folds follow from it.

    Raises:
        ValueError: The folds do not fit into the windows; the message begins with the key of ``rule`` at fault.
    """
    (first, last), span = _places(days, train), _places(days, test)
    end = min(last, span[0] - 1 - rule.purge_days)
    if end - first + 1 < FEWEST_DAYS:
        raise ValueError(
            f"purge_days = {rule.purge_days}: leaves {max(0, end - first + 1)} of the {last - first + 1} days of the "
            f"training window ({train}), at least {FEWEST_DAYS} are needed"
        )
    folds = []
    for number, (begin, stop) in enumerate(_cut(rule, *span), start=1):
        ahead = span[0] - end if number == 1 else max(span[0] - end, 1 + rule.embargo_days)
        stops = begin - ahead
        begins = first if rule.scheme == "expanding" else first + stops - end
        windows = _window(days, begins, stops), _window(days, begin, stop)
        folds.append(Fold(number, fold_seed(seed, number), *windows))
    return tuple(folds)


def fold_seed(seed: int, number: int) -> int:
    """The seed of a fold's team, below 2^31; the folds of one seed, or of two, have nothing in common."""
    return int(np.random.SeedSequence(seed, spawn_key=(number,)).generate_state(1)[0] >> 1)


def _cut(rule: WalkForwardSpec, first: int, last: int) -> list[tuple[int, int]]:
    """First and last day of every test window, as places in the calendar."""
    days, apart = last - first + 1, rule.embargo_days
    count = rule.folds or _count(days, rule.test_days or FEWEST_DAYS, apart)
    tested = days - apart * (count - 1)
    if count < FEWEST_FOLDS or tested < FEWEST_DAYS * count:
        asked = f"folds = {rule.folds}" if rule.folds else f"test_days = {rule.test_days}"
        embargo = f" with {apart} days of embargo between them" if apart else ""
        raise ValueError(
            f"{asked}: the test window has {days} days, too few for {max(count, FEWEST_FOLDS)} folds of "
            f"{rule.test_days or f'at least {FEWEST_DAYS}'} days{embargo}; widen evaluation.window, or ask for less"
        )
    windows = []
    for length in _lengths(rule, tested, count):
        windows.append((first, first + length - 1))
        first += length + apart
    return windows


def _count(days: int, length: int, apart: int) -> int:
    """How many folds of a length there are; one more where the rest is at least half as long."""
    whole, rest = divmod(days + apart, length + apart)
    return whole + (rest - apart >= max(FEWEST_DAYS, length / 2))


def _lengths(rule: WalkForwardSpec, tested: int, count: int) -> list[int]:
    if rule.test_days is None:
        return [tested * (index + 1) // count - tested * index // count for index in range(count)]
    return [*[rule.test_days] * (count - 1), tested - rule.test_days * (count - 1)]


def _places(days: Days, window: WindowSpec) -> tuple[int, int]:
    """The first and the last day of a window, as places in the calendar."""
    start = 0 if window.start is None else int(np.searchsorted(days, np.datetime64(window.start, "D")))
    stop = len(days) if window.end is None else int(np.searchsorted(days, np.datetime64(window.end, "D"), "right"))
    return start, stop - 1


def _window(days: Days, first: int, last: int) -> WindowSpec:
    start, end = (_date(days[place]) for place in (first, last))
    return WindowSpec(start=start, end=end)


def _date(day: np.datetime64) -> date:
    return date.fromisoformat(str(day))
