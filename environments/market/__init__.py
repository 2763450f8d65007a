"""The multi-asset market: prices in, orders out, one exact ledger in between."""
