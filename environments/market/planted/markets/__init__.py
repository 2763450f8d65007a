"""The planted markets: a file for each problem, which puts its mathematics and ``MarketEnv`` together."""
