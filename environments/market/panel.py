"""The price panel: bars of many assets, aligned on the union of their calendars and never filled from the future."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from environments.errors import DataError
from environments.market.alignment import Bools, Floats, Ints, on_calendar, own_bars
from environments.market.panel_checks import COLUMNS, KEYS, PRICES, checked

CLASS_ORDER = ("stocks", "crypto", "etf", "currencies", "reits")
SUFFIXES = (".parquet", ".csv")
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "None")


@dataclass(frozen=True)
class Panel:
    """Bars of N assets on T dates.

    The dates are the union of all assets' own dates. Where an asset has no bar it does not trade: its four prices
    stand at its last close, its volume is 0. Before its first bar they are 1.0: a placeholder, nothing can trade at it.

    Attributes:
        dates_T: datetime64[s], rising, unique.
        symbols: N names, contiguous by class, then by name.
        classes: C names: stocks, crypto, etf, currencies, reits, then any others by name.
        class_N: int64, index into ``classes``.
        open_TN: float64, price at the open, in the asset's own quote.
        high_TN: float64, highest price of the bar.
        low_TN: float64, lowest price of the bar.
        close_TN: float64, price at the close.
        volume_TN: float64, units traded in the bar; 0 where there is no bar.
        traded_TN: bool, the asset has a bar of its own at this date.
        extras: name -> float64 (T, N): further columns, carried forward from the past, NaN before the first value.
        notes: What was mended on the way in, one line each.
    """

    dates_T: npt.NDArray[np.datetime64]
    symbols: tuple[str, ...]
    classes: tuple[str, ...]
    class_N: Ints
    open_TN: Floats
    high_TN: Floats
    low_TN: Floats
    close_TN: Floats
    volume_TN: Floats
    traded_TN: Bools
    extras: Mapping[str, Floats]
    notes: tuple[str, ...]

    def until(self, bar: int) -> Panel:
        """What was there at the close of a bar: no later bar, and no asset that has not had one yet."""
        bars = slice(bar + 1)
        kept_N: Bools = np.any(self.traded_TN[bars], axis=0, keepdims=False)
        kept_C = sorted(set(self.class_N[kept_N].tolist()))
        return Panel(
            dates_T=self.dates_T[bars],
            symbols=tuple(symbol for symbol, kept in zip(self.symbols, kept_N, strict=True) if kept),
            classes=tuple(self.classes[index] for index in kept_C),
            class_N=np.searchsorted(kept_C, self.class_N[kept_N]),
            **{f"{name}_TN": getattr(self, f"{name}_TN")[bars, kept_N] for name in (*PRICES, "volume", "traded")},
            extras={name: value_TN[bars, kept_N] for name, value_TN in self.extras.items()},
            notes=self.notes,
        )


def load_panel(path: str | Path) -> Panel:
    """Reads a Parquet or CSV file of bars; see ``panel_from_frame`` for what it holds.

    Raises:
        DataError: The file cannot be found or read, or what it holds cannot be used.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path}: is a directory; data.path names one file ({' or '.join(SUFFIXES)})")
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: suffix {path.suffix!r}; data.path names a file that ends in {' or '.join(SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"{path}: no such file (looked for {path.absolute()}); set data.path to your prices")
    read = _read_csv if path.suffix.lower() == ".csv" else _read_parquet
    return panel_from_frame(read(path), origin=str(path))


def panel_from_frame(frame: pd.DataFrame, *, origin: str) -> Panel:
    """Aligns a table of bars on the union of its assets' calendars.

    Args:
        frame: One row per asset and bar: ``date``, ``symbol``, ``asset_class``, ``open``, ``high``, ``low``, ``close``,
            ``volume``, and numeric extras (NaN where not known). The index is ignored.
        origin: Where the table comes from: the first words of every message.

    Raises:
        DataError: The table cannot be used; the line says what was given, what is allowed and where.
    """
    table = checked(frame, origin)
    late = int((table.groupby("symbol", sort=False)["date"].diff() < pd.Timedelta(0)).sum())
    notes = (f"{origin}: {late:,} rows were out of date order: sorted",) if late else ()
    return _align(table, notes)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path, partitioning=None)
    except (OSError, ValueError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not a readable Parquet file (empty, truncated or damaged?): {reason}") from error
    # A frame may have been saved with its keys as index; one that is a column too says nothing new.
    named = [name for name in frame.index.names if name is not None and name not in frame.columns]
    return frame.reset_index(level=named) if named else frame


def _read_csv(path: Path) -> pd.DataFrame:
    encoding = "utf-8-sig"
    try:
        header = pd.read_csv(path, encoding=encoding, nrows=0).columns
        # Keys are text whatever they look like (000001 and NA are symbols); only a number can be missing.
        missing = {name: MISSING for name in header if name not in KEYS}
        text = dict.fromkeys(KEYS, str)
        return pd.read_csv(
            path, encoding=encoding, dtype=text, keep_default_na=False, na_values=missing, low_memory=False
        )
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path}: empty file; a panel has the columns {', '.join(COLUMNS)}") from error
    except (pd.errors.ParserError, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not a readable CSV file (comma-separated, UTF-8): {reason}") from error


def _align(table: pd.DataFrame, notes: tuple[str, ...]) -> Panel:
    assets = table[["asset_class", "symbol"]].drop_duplicates()
    classes = tuple(sorted(assets["asset_class"].unique(), key=_class_rank))
    order = sorted(zip(assets["asset_class"].map(classes.index), assets["symbol"], strict=True))
    symbols = tuple(symbol for _, symbol in order)
    dates_T, bar = np.unique(table["date"].to_numpy(), return_inverse=True)
    asset = table["symbol"].map({symbol: n for n, symbol in enumerate(symbols)}).to_numpy()

    def column(name: str) -> Floats:
        value_TN = np.full((len(dates_T), len(symbols)), np.nan)
        value_TN[bar, asset] = table[name].to_numpy()
        return value_TN

    close_TN = column("close")
    traded_TN = ~np.isnan(close_TN)
    close_TN = _carry(close_TN, 1.0)
    price = {f"{name}_TN": np.where(traded_TN, column(name), close_TN) for name in PRICES}
    return Panel(
        dates_T=dates_T,
        symbols=symbols,
        classes=classes,
        class_N=np.array([index for index, _ in order], dtype=np.int64),
        **price,
        volume_TN=np.nan_to_num(column("volume")),
        traded_TN=traded_TN,
        extras={name: _carry(column(name), np.nan) for name in table.columns if name not in COLUMNS},
        notes=notes,
    )


def _carry(value_TN: Floats, before: float) -> Floats:
    known_TN = ~np.isnan(value_TN)
    return on_calendar(own_bars(value_TN, known_TN), known_TN.cumsum(axis=0), before)


def _class_rank(name: str) -> tuple[int, str]:
    return (CLASS_ORDER.index(name) if name in CLASS_ORDER else len(CLASS_ORDER), name)
