"""Evaluation: the result of one, and how it is written."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from wealtharena.evidence.files import EVALUATION, TRACKS, write_json, write_tracks
from wealtharena.evidence.track import Track

NAMED_PACKAGES = ("wealtharena", "ray", "torch", "numpy", "gymnasium", "pandas")


@dataclass(frozen=True)
class Evaluation:
    """What a team is worth.

    Attributes:
        content: As it stands in ``evaluation.json``.
        tracks: The team's and each baseline's, bar by bar; empty in an environment that is no market.
    """

    content: Mapping[str, Any]
    tracks: tuple[Track, ...]

    def write(self, directory: Path) -> Path:
        """Writes ``evaluation_tracks.parquet`` (if there are tracks), then ``evaluation.json``; returns its path."""
        if self.tracks:
            write_tracks(directory / TRACKS, self.tracks)
        return write_json(directory / EVALUATION, self.content)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that bear on a result; those not installed are left out."""
    found = {"python": platform.python_version()}
    for name in NAMED_PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
