"""Each kind of bad data is found where it was planted, and nowhere else."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from environments.market.panel import load_panel, panel_from_frame
from tests.environments.panels import REAL_PANEL
from wealtharena.cli import app
from wealtharena.evidence.data_warnings import DataWarning, data_warnings

CLASSES = {"AAA": "stocks", "BBB": "stocks", "COIN": "crypto", "EURUSD": "currencies"}
DAYS = 400
AT = 200
"""The bar at which something is planted."""


def clean() -> pd.DataFrame:
    """Four assets with an honest open, wicks, and volume; the last, BBB, ends early."""
    rng = np.random.default_rng(5)
    days = pd.bdate_range("2019-01-01", periods=DAYS)
    tables = []
    for symbol, asset_class in CLASSES.items():
        gap, move = rng.normal(0, 0.01, (2, DAYS))
        close = 100 * np.exp(np.cumsum(gap + move))
        open_ = close * np.exp(-move)
        up, down = 1 + 0.005 * rng.random((2, DAYS))
        columns = {"open": open_, "high": np.maximum(open_, close) * up, "low": np.minimum(open_, close) / down}
        volume = rng.lognormal(10, 1, DAYS)
        table = pd.DataFrame({"date": days, "symbol": symbol, "asset_class": asset_class, **columns})
        tables.append(table.assign(close=close, volume=volume)[: 350 if symbol == "BBB" else DAYS])
    return pd.concat(tables, ignore_index=True)


def warned(table: pd.DataFrame) -> dict[str, DataWarning]:
    found = data_warnings(panel_from_frame(table, origin="planted"))
    return {warning.what: warning for warning in found}


def rows_of(table: pd.DataFrame, symbol: str, first: int = 0, last: int = DAYS) -> pd.Index:
    return table.index[table["symbol"] == symbol][first:last]


def mended(table: pd.DataFrame) -> pd.DataFrame:
    """High and low reach as far as open and close."""
    prices = table[["open", "high", "low", "close"]]
    return table.assign(high=prices.max(axis=1), low=prices.min(axis=1))


def only(table: pd.DataFrame, what: str) -> tuple[tuple[str, int], str]:
    """Symbol and rows of the one finding of the one warning, and its example."""
    warnings = warned(table)
    assert list(warnings) == [what]
    (found,) = warnings[what].found
    return (found.symbol, found.rows), found.example


def test_clean_data_are_not_warned_of() -> None:
    assert warned(clean()) == {}


def test_a_close_copied_into_the_open() -> None:
    table = clean()
    rows = rows_of(table, "EURUSD", AT)
    table.loc[rows, "open"] = table.loc[rows, "close"]
    found, example = only(table, "close equals own open")
    assert found == ("EURUSD", 200)
    assert example.startswith("50% of its rows, first 2019-10-08: open = close = ")


def test_a_few_closes_at_the_open_are_chance_but_in_currencies() -> None:
    for symbol, expected in (("AAA", {}), ("EURUSD", {"close equals own open"})):
        table = clean()
        rows = rows_of(table, symbol, AT, AT + 12)
        table.loc[rows, "open"] = table.loc[rows, "close"]
        assert warned(table).keys() == set(expected)


def test_a_source_of_one_price_a_day() -> None:
    table = clean()
    rows = rows_of(table, "EURUSD")
    table.loc[rows, ["open", "high", "low"]] = table.loc[rows, ["close"] * 3].to_numpy()
    for volume in (0.0, 5.0):
        table.loc[rows, "volume"] = volume
        assert only(table, "close equals own open")[0] == ("EURUSD", DAYS)


def test_a_panel_of_one_row() -> None:
    assert warned(clean()[:1]) == {}


def test_an_open_that_repeats_the_last_close() -> None:
    table = clean()
    rows = rows_of(table, "EURUSD", 1)
    table.loc[rows, "open"] = table.loc[rows - 1, "close"].to_numpy()
    found, example = only(mended(table), "open equals last close")
    assert found == ("EURUSD", DAYS - 1)
    assert "first 2019-01-02: open = close before = " in example


def test_flat_rows_without_volume() -> None:
    table = clean()
    rows = rows_of(table, "AAA", AT, AT + 3)
    last = table.loc[rows[0] - 1, "close"]
    table.loc[rows, ["open", "high", "low", "close"]] = last
    assert warned(table) == {}  # somebody traded, at one price
    table.loc[rows, "volume"] = 0.0
    assert only(table, "flat rows without volume") == (
        ("AAA", 3),
        f"2019-10-08: open = high = low = close = {last:g}",
    )


def test_where_no_volume_is_given_a_flat_row_must_also_repeat_the_price() -> None:
    table = clean()
    everything = rows_of(table, "EURUSD")
    table.loc[everything, "volume"] = 0.0
    rows = rows_of(table, "EURUSD", AT, AT + 2)
    table.loc[rows, ["open", "high", "low"]] = table.loc[rows, ["close"] * 3].to_numpy()
    assert warned(table) == {}
    table.loc[rows[1], ["open", "high", "low", "close"]] = table.loc[rows[0], "close"]
    assert only(table, "flat rows without volume")[0] == ("EURUSD", 1)


@pytest.mark.parametrize("ratio", [2, 3, 4, 5, 7, 10, 1 / 2, 1 / 10, 2 / 3, 1 / 3, 1 / 20])
def test_a_split(ratio: float) -> None:
    table = clean()
    rows = rows_of(table, "AAA", AT)
    before = table.loc[rows[0] - 1, "close"]
    table.loc[rows, ["open", "high", "low", "close"]] *= ratio
    found, example = only(table, "split-like jumps")
    assert found == ("AAA", 1)
    assert example == f"2019-10-08: {before:g} to {table.loc[rows[0], 'close']:g}"


def test_a_mistyped_close_is_two_jumps() -> None:
    table = clean()
    row = rows_of(table, "AAA", AT, AT + 1)
    table.loc[row, ["open", "high", "low", "close"]] *= 1.8
    assert only(table, "split-like jumps")[0] == ("AAA", 2)


@pytest.mark.parametrize("fall", [0.45, 0.39, 0.6])
def test_a_crash_that_was_traded_through_is_no_split(fall: float) -> None:
    table = clean()
    rows = rows_of(table, "COIN", AT)
    table.loc[rows, "close"] *= 1 - fall
    table.loc[rows[1:], ["open", "high", "low"]] *= 1 - fall
    table.loc[rows[0], "low"] = table.loc[rows[0], "close"]
    assert warned(mended(table)) == {}


def test_a_lonely_wick_and_a_day_full_of_wicks() -> None:
    table = clean()
    day = rows_of(table, "EURUSD", AT, AT + 1)
    table.loc[day, "high"] *= 1.3
    found, example = only(table, "suspicious wicks")
    assert found == ("EURUSD", 1)
    assert example.startswith("2019-10-08: open ")
    for symbol in ("AAA", "COIN"):
        table.loc[rows_of(table, symbol, AT, AT + 1), "low"] /= 1.2
    assert warned(table) == {}


def test_survivorship_and_what_ends_late_enough() -> None:
    table = clean()
    assert (
        only(table[table["symbol"] != "BBB"], "survivorship")[1]
        == "all 3 symbols trade until 2020-07-13, none ever ends"
    )
    late = table.drop(rows_of(table, "AAA", DAYS - 5))
    assert warned(late) == {}
    assert warned(late[late["symbol"] != "BBB"]).keys() == {"survivorship"}  # a few days short is no end
    assert warned(table[table["symbol"] == "AAA"]) == {}  # of one symbol nothing can be said


def test_symbols_are_told_most_rows_first_and_short_ones_say_nothing_by_shares() -> None:
    table = clean()
    for symbol, rows in (("AAA", 2), ("COIN", 5)):
        flat = rows_of(table, symbol, AT, AT + rows)
        table.loc[flat, ["open", "high", "low", "close"]] = table.loc[flat[0] - 1, "close"]
        table.loc[flat, "volume"] = 0.0
    found = warned(table)["flat rows without volume"].found
    assert [(finding.symbol, finding.rows) for finding in found] == [("COIN", 5), ("AAA", 2)]
    short = table[table["date"] < "2019-01-15"].assign(open=lambda rows: rows["close"])
    assert "close equals own open" not in warned(mended(short))


def test_check_warns_and_does_not_fail(market: Path, prices: pd.DataFrame) -> None:
    rows = prices.index[prices["symbol"] == "STOCKS01"][100:104]
    stale = prices.copy()
    stale.loc[rows, ["open", "high", "low", "close"]] = stale.loc[rows[0] - 1, "close"]
    stale.loc[rows, "volume"] = 0.0
    stale.to_parquet("prices.parquet", index=False)
    result = CliRunner().invoke(app, ["check", "small.yaml"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "STOCKS01 4" in result.stdout
    assert "flat rows without volume: Nothing was traded" in result.stdout
    assert "survivorship: " in result.stdout


def test_check_says_nothing_of_made_up_prices(market: Path) -> None:
    market.write_text(
        market.read_text().replace("{path: prices.parquet}", "{synthetic: {assets: {stocks: 2, crypto: 1}}}")
    )
    result = CliRunner().invoke(app, ["check", "small.yaml"])
    assert result.exit_code == 0, result.output
    assert "Look at these prices" not in result.stdout


@pytest.mark.skipif(not REAL_PANEL.is_file(), reason="the real panel is not here")
def test_what_is_known_of_the_real_panel_is_found() -> None:
    panel = load_panel(REAL_PANEL)
    found = {warning.what: warning.found for warning in data_warnings(panel)}
    assert list(found) == ["open equals last close", "flat rows without volume", "suspicious wicks", "survivorship"]
    assert {finding.symbol for finding in found["open equals last close"]} == set(
        panel.symbols[panel.symbols.index("AUDUSD") : panel.symbols.index("USDJPY") + 1]
    )
    stale = {finding.symbol: finding.rows for finding in found["flat rows without volume"]}
    assert sum(rows for symbol, rows in stale.items() if symbol.endswith(".AX")) == 28
    assert sum(stale.values()) == 34  # with the currencies' new years
    assert [(finding.symbol, finding.example[:10]) for finding in found["suspicious wicks"]] == [
        ("AUDUSD", "2021-01-01"),
        ("USDJPY", "2020-01-01"),
    ]
