"""Markets whose best possible policy is known, made of the ordinary parameters of ``MarketEnv``."""
