"""What to say where actions are missing."""

from __future__ import annotations


def left_out(name: str) -> ValueError:
    """What to raise where the actions of a group are missing."""
    return ValueError(f"step: no actions for group {name!r}, some of whose agents are active; give one for each agent")
