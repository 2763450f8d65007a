"""``python -m wealtharena``."""

from wealtharena.cli import app

if __name__ == "__main__":
    app()
