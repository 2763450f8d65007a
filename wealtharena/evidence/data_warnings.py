"""What in a price file may leak the future or mislead, although every row of it is well formed.

Warnings, not errors: each can be right in a particular market, and none can be told from prices alone for certain.
What cannot be seen in daily bars is not looked for: closes that come at other hours on the same date, adjustments for
later dividends, or symbols chosen with hindsight beyond the one trace that they leave (nothing ever ends).

Dimensions: B own bars of an asset, T bars of the union, N assets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from environments.market.alignment import Bools, Floats, own_bars
from environments.market.history import STALE_AFTER
from environments.market.panel import Panel

SAME = 1e-6  # relative: adjusting for splits and dividends rounds each price of a row on its own
ENOUGH = 20  # rows below which a share of rows means nothing
CLOSE_IS_OPEN = 0.10  # of an asset's rows: in cheap shares with coarse ticks it happens by chance, in up to 6%
CURRENCY_CLOSE_IS_OPEN = 0.01  # quotes have five digits: by chance in 0.2% of the rows
OPEN_IS_LAST_CLOSE = 0.50  # of an asset's rows: by chance in up to 6%; weekends keep a repeated close below 100%
CURRENCIES = "currencies"

SPLITS = (1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50, 100)  # to one, either way round
SPLIT_OVERNIGHT = 0.05  # log distance from a split's ratio: what a share moves overnight besides
SPLIT_IN_BAR = 0.02  # closer, where price was traded all the way: a coin may double in a day
SPLIT_LEAST_IN_BAR = 2  # and it does move by half
EXTREME_SIGMAS, EXTREME_MOVE = 10.0, 0.40  # (log) beyond both; 10 sigmas alone is any crash of a calm asset
OVERNIGHT = 0.5  # of a jump, at least, between close and open: what was traded within the bar was a price

WICK_SIGMAS = 10.0  # beyond open and close; the largest of a quiet market is about 7
WICK_WINDOW = 61  # bars around it that say what is usual: in a crash, long wicks are
WICK_SHARED_SIGMAS, WICK_SHARED = 5.0, 3  # so many symbols with a long wick on one date: the market was like that

TO_SIGMA = 1.4826  # median absolute deviation -> standard deviation, for a normal distribution


@dataclass(frozen=True)
class Finding:
    """What was found in one symbol (or in none in particular, symbol "").

    Attributes:
        symbol: Whose rows.
        rows: How many.
        example: The first of them, or the worst, in words.
    """

    symbol: str
    rows: int
    example: str


@dataclass(frozen=True)
class DataWarning:
    """One way in which data leak or mislead.

    Attributes:
        what: A name for it.
        meaning: What it does to a result, and what can be done.
        found: Symbol by symbol, most rows first.
    """

    what: str
    meaning: str
    found: tuple[Finding, ...]


def data_warnings(panel: Panel) -> tuple[DataWarning, ...]:
    """Looks for everything in this file; only what was found is returned."""
    own = _Own(panel)
    looked = [DataWarning(what, meaning, tuple(find(own))) for what, meaning, find in LOOK_FOR]
    return tuple(warning for warning in looked if warning.found)


class _Own:
    """A panel's assets on their own bars, each (B, N), NaN after an asset's last bar."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self.open_BN, self.high_BN, self.low_BN, self.close_BN, self.volume_BN = (
            own_bars(getattr(panel, f"{name}_TN"), panel.traded_TN)
            for name in ("open", "high", "low", "close", "volume")
        )
        self.bar_BN = own_bars(
            np.broadcast_to(np.arange(len(panel.dates_T))[:, None], panel.traded_TN.shape), panel.traded_TN
        )
        self.rows_N = panel.traded_TN.sum(axis=0)

    @cached_property
    def last_close_BN(self) -> Floats:
        """NaN in the first row."""
        return np.vstack([np.full((1, self.close_BN.shape[1]), np.nan), self.close_BN[:-1]])

    @cached_property
    def return_BN(self) -> Floats:
        """Log return close to close."""
        return np.log(self.close_BN / self.last_close_BN)

    @cached_property
    def stale_BN(self) -> Bools:
        """Nothing was traded. Where a source gives no volumes at all, a 0 says nothing: there the price must repeat."""
        tells_N = (np.nan_to_num(self.volume_BN) > 0).any(axis=0)
        repeats_BN = np.abs(self.close_BN / self.last_close_BN - 1) < SAME
        flat_BN = np.abs(self.high_BN / self.low_BN - 1) < SAME
        return flat_BN & np.where(tells_N, self.volume_BN == 0, repeats_BN)

    def day(self, row: int, asset: int) -> str:
        return str(self.panel.dates_T[int(self.bar_BN[row, asset])].astype("datetime64[D]"))

    def findings(
        self, bad_BN: Bools, tell: Callable[[int, int], str], worst_BN: Floats | None = None
    ) -> Iterator[Finding]:
        """One for each symbol with a bad row, most rows first; the example is the first, or the worst."""
        count_N = bad_BN.sum(axis=0)
        example_N = bad_BN.argmax(axis=0) if worst_BN is None else np.where(bad_BN, worst_BN, -np.inf).argmax(axis=0)
        for asset in np.argsort(-count_N, kind="stable")[: int((count_N > 0).sum())]:
            row = int(example_N[asset])
            yield Finding(self.panel.symbols[asset], int(count_N[asset]), f"{self.day(row, asset)}: {tell(row, asset)}")

    def shares(self, bad_BN: Bools, least_N: Floats, tell: Callable[[int, int], str]) -> Iterator[Finding]:
        """As ``findings``, of the symbols where bad rows are at least a share of all."""
        often_N = (bad_BN.sum(axis=0) >= least_N * self.rows_N) & (self.rows_N >= ENOUGH)
        for found in self.findings(bad_BN & often_N, tell):
            rows = int(self.rows_N[self.panel.symbols.index(found.symbol)])
            yield Finding(found.symbol, found.rows, f"{found.rows / rows:.0%} of its rows, first {found.example}")


def _close_is_open(own: _Own) -> Iterator[Finding]:
    currency_N = np.array([own.panel.classes[c] == CURRENCIES for c in own.panel.class_N])
    least_N = np.where(currency_N, CURRENCY_CLOSE_IS_OPEN, CLOSE_IS_OPEN)
    same_BN = (np.abs(own.close_BN / own.open_BN - 1) < SAME) & ~own.stale_BN
    return own.shares(same_BN, least_N, lambda row, n: f"open = close = {own.close_BN[row, n]:g}")


def _open_is_last_close(own: _Own) -> Iterator[Finding]:
    same_BN = (np.abs(own.open_BN / own.last_close_BN - 1) < SAME) & ~own.stale_BN
    least_N = np.full(len(own.rows_N), OPEN_IS_LAST_CLOSE)
    return own.shares(same_BN, least_N, lambda row, n: f"open = close before = {own.open_BN[row, n]:g}")


def _stale(own: _Own) -> Iterator[Finding]:
    return own.findings(own.stale_BN, lambda row, n: f"open = high = low = close = {own.close_BN[row, n]:g}")


def _jumps(own: _Own) -> Iterator[Finding]:
    gap_BN = np.log(own.open_BN / own.last_close_BN)
    size_BN = np.abs(own.return_BN)
    overnight_BN = (gap_BN * np.sign(own.return_BN)) >= OVERNIGHT * size_BN
    split_BN = (_from_split(own.return_BN, 1) < SPLIT_OVERNIGHT) | (_from_split(gap_BN, 1) < SPLIT_OVERNIGHT)
    extreme_BN = (size_BN > EXTREME_SIGMAS * _usual_N(own.return_BN)) & (size_BN > EXTREME_MOVE)
    in_bar_BN = _from_split(own.return_BN, SPLIT_LEAST_IN_BAR) < SPLIT_IN_BAR
    bad_BN = np.where(overnight_BN, split_BN | extreme_BN, in_bar_BN)
    return own.findings(bad_BN, lambda row, n: f"{own.last_close_BN[row, n]:g} to {own.close_BN[row, n]:g}", size_BN)


def _from_split(return_BN: Floats, least: float) -> Floats:
    """Log distance from the nearest ratio of a split."""
    size_BN = np.abs(return_BN)
    distance_BN = np.full_like(size_BN, np.inf)
    for ratio in SPLITS:
        if ratio >= least:
            np.fmin(distance_BN, np.abs(size_BN - np.log(ratio)), out=distance_BN)
    return distance_BN


def _usual_N(return_BN: Floats) -> Floats:
    """A standard deviation that jumps do not move; infinite where there is none."""
    with np.errstate(invalid="ignore"):
        median_N = pd.DataFrame(np.abs(return_BN)).median().to_numpy()
    return np.where(median_N > 0, TO_SIGMA * median_N, np.inf)


def _wicks(own: _Own) -> Iterator[Finding]:
    top_BN, bottom_BN = np.maximum(own.open_BN, own.close_BN), np.minimum(own.open_BN, own.close_BN)
    wick_BN = np.maximum(np.log(own.high_BN / top_BN), np.log(bottom_BN / own.low_BN))
    window = pd.DataFrame(np.abs(own.return_BN)).rolling(WICK_WINDOW, center=True, min_periods=ENOUGH)
    usual_BN = TO_SIGMA * window.median().to_numpy()
    sigmas_BN = np.divide(wick_BN, usual_BN, out=np.zeros_like(wick_BN), where=usual_BN > 0)
    bad_BN = (sigmas_BN > WICK_SIGMAS) & ~_shared(own, sigmas_BN > WICK_SHARED_SIGMAS)

    def tell(row: int, n: int) -> str:
        prices = (own.open_BN, own.high_BN, own.low_BN, own.close_BN)
        return "open {:g}, high {:g}, low {:g}, close {:g}".format(*(price_BN[row, n] for price_BN in prices))

    return own.findings(bad_BN, tell, sigmas_BN)


def _shared(own: _Own, long_BN: Bools) -> Bools:
    """Where so many symbols have one on the same date that it is the market's."""
    bar_BN = np.nan_to_num(own.bar_BN).astype(np.int64)
    on_T: npt.NDArray[np.int64] = np.bincount(bar_BN[long_BN], minlength=len(own.panel.dates_T))
    shared_BN: Bools = (on_T >= WICK_SHARED)[bar_BN]
    return shared_BN


def _survivors(own: _Own) -> Iterator[Finding]:
    """No symbol ends: each has a bar within the last ``STALE_AFTER`` of the union."""
    panel = own.panel
    if len(panel.symbols) > 1 and panel.traded_TN[-STALE_AFTER:].any(axis=0).all():
        last = panel.dates_T[-1].astype("datetime64[D]")
        yield Finding("", 0, f"all {len(panel.symbols)} symbols trade until {last}, none ever ends")


LOOK_FOR: tuple[tuple[str, str, Callable[[_Own], Iterator[Finding]]], ...] = (
    (
        "close equals own open",
        "One of the two was not recorded but copied. If the close was copied into the open, an order at the open fills "
        "at a price that is known only at the close, and the result is worth nothing. Take another source.",
        _close_is_open,
    ),
    (
        "open equals last close",
        "The open is no price of its own: an order for the next open fills at the close that its decision has seen. "
        "Usual where a market never closes, and true there only if one can really trade at that price.",
        _open_is_last_close,
    ),
    (
        "flat rows without volume",
        "Nothing was traded (a holiday, a halt), yet the environment fills orders there. Drop these rows: an asset may "
        "miss bars.",
        _stale,
    ),
    (
        "split-like jumps",
        "A price jumped like an unadjusted split or a mistyped number. Adjust the prices before it, or mend the row; "
        "if it is real, leave it.",
        _jumps,
    ),
    (
        "suspicious wicks",
        "High or low lies far outside open and close, on a day on which others had nothing like it: often a bad tick. "
        "Fills are not touched (open) nor marks (close), features of the range are.",
        _wicks,
    ),
    (
        "survivorship",
        "Who failed is missing, or was never chosen: the returns of such a panel flatter every strategy that buys, "
        "equal weight included. Add symbols that were delisted, or read results against the baselines only.",
        _survivors,
    ),
)
