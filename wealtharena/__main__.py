"""The program: ``wealtharena``, or ``python -m wealtharena``."""

import gc
import os
import sys


def main() -> None:
    """Runs the command line."""
    if "RAY_ADDRESS" not in os.environ:
        # Ray reads this when it is imported: a Ray of our own then listens on 127.0.0.1 alone, on every system.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    gc.disable()  # nothing that is imported is garbage; looking for it takes a fifth of the time
    try:
        from wealtharena.cli import app  # noqa: PLC0415  (imports Ray)
    except KeyboardInterrupt:
        sys.exit(130)
    gc.enable()
    app()


if __name__ == "__main__":
    main()
