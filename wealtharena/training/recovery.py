"""Learners that are lost, with their process or its node: the run builds its team again from the last checkpoint."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from ray.exceptions import RayActorError

from wealtharena.errors import UserError
from wealtharena.team.algorithm import Team
from wealtharena.training.room import Bundle, room
from wealtharena.training.run_dir import RunDir

_LOG = logging.getLogger(__name__)
MOST_IN_A_ROW = 3
"""How often a run begins again at the same checkpoint: a Learner that kills its own process would do so for ever."""


class LearnersLostError(Exception):
    """What a Learner's process has left undone, or was not there to begin."""


class Recovery:
    """Says whether a run goes on by itself.

    Attributes:
        times: It did so, since its process began.
    """

    def __init__(self, run: RunDir) -> None:
        """Takes the run whose checkpoints tell whether there was progress in between."""
        self._run = run
        self._in_a_row, self._reached = 0, -1
        self.times = 0

    def prepare(self, lost: LearnersLostError) -> None:
        """Counts and tells it.

        Raises:
            UserError: It has happened too often in a row, without a checkpoint in between.
        """
        last = self._run.latest()
        reached = last.mark.iteration if last else 0
        self._in_a_row = self._in_a_row + 1 if reached == self._reached else 1
        self._reached = reached
        if self._in_a_row > MOST_IN_A_ROW:
            raise UserError(
                f"learners were lost {self._in_a_row} times in a row without a checkpoint in between, now by {lost}; "
                f"look at 'ray status' and the logs of Ray, then {self._how_to_go_on()}"
            ) from lost.__cause__
        self.times += 1
        where = f"from iteration {reached}, the last checkpoint" if reached else "from the beginning"
        _LOG.warning("learners were lost (%s): the run goes on %s", lost, where)

    @contextmanager
    def room(self, bundles: Sequence[Bundle]) -> Iterator[None]:
        """As ``room.room``; says how to go on if what was lost does not come back.

        Raises:
            UserError: There was no room for so long.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(room(bundles))
            except UserError as error:
                if not self.times:
                    raise
                raise UserError(
                    f"learners were lost, and {error}; when there is room, {self._how_to_go_on()}"
                ) from error
            yield

    def _how_to_go_on(self) -> str:
        return f"go on: wealtharena train {shlex.quote(self._run.home)} --resume"


@contextmanager
def learners_of(team: Team) -> Iterator[None]:
    """Tells errors that came of a lost Learner from all others, which no repetition would put right.

    Raises:
        LearnersLostError: In place of any error, where a Learner's process is gone.
    """
    try:
        yield
    except Exception as error:
        if not (families := team.learner_group.lost()):
            raise
        raise LearnersLostError(f"of {', '.join(families)}; {_first_line(error)}") from error


@contextmanager
def building() -> Iterator[None]:
    """The same while a team is built: a node may go that has just been chosen.

    Raises:
        LearnersLostError: A process was lost; not if it could not be built.
    """
    try:
        yield
    except RayActorError as error:
        if error.actor_init_failed:
            raise
        raise LearnersLostError(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
