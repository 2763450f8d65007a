"""``module:Class``: how a file names a class of the user's."""

from __future__ import annotations

import importlib
from typing import Any


def load_target(target: str) -> Any:
    """The object that ``module:Name`` names.

    Raises:
        ValueError: There is none, with the reason: a module of the user's may raise anything when it is imported.
    """
    module_name, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module_name), name)
    except Exception as error:
        raise ValueError(f"{target!r} names nothing: {type(error).__name__}: {error}") from error
