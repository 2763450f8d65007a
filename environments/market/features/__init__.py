"""What agents see of prices: small, bounded numbers that use nothing after the close of bar t."""
