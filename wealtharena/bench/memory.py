"""How much memory this process holds, and how much it held at most: as Linux tells it."""

from __future__ import annotations

from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


def resident() -> int:
    """Bytes of memory that are resident now."""
    return _field("VmRSS")


def reset_peak() -> None:
    """Begins anew with what ``peak`` tells."""
    _CLEAR.write_text(_RESET_PEAK)


def peak() -> int:
    """The most bytes that were resident since ``reset_peak``."""
    return _field("VmHWM")


def _field(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{_STATUS} has no {name}: memory can be measured on Linux only")
