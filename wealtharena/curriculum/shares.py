"""How many of E copies play each of K stages."""

from __future__ import annotations

from collections.abc import Sequence


def at_frontier(stage: int, stages: int, copies: int, replay: float) -> tuple[int, ...]:
    """Most copies play one stage, a share of them the stages before it, all of these alike.

    What cannot be shared alike goes to the latest of the earlier stages.

    Args:
        stage: The one that most copies play, counted from 0.
        stages: K.
        copies: E.
        replay: The share of the earlier stages; 0 of the first has none.
    """
    back = round(replay * copies) if stage else 0
    each, rest = divmod(back, stage) if stage else (0, 0)
    before = [each + (place >= stage - rest) for place in range(stage)]
    return (*before, copies - back, *(0 for _ in range(stage + 1, stages)))


def in_proportion(weights: Sequence[float], copies: int) -> tuple[int, ...]:
    """One copy for each stage, and the others by weight, rounded by largest remainders.

    Args:
        weights: Of each stage, at least 0, not all of them 0.
        copies: E, at least K.
    """
    free, total = copies - len(weights), sum(weights)
    exact = [free * weight / total for weight in weights]
    whole = [int(share) for share in exact]
    by_rest = sorted(range(len(exact)), key=lambda k: whole[k] - exact[k])  # stable: the earlier of equals
    for k in by_rest[: free - sum(whole)]:
        whole[k] += 1
    return tuple(1 + share for share in whole)
