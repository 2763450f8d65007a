"""What learns: one file per algorithm, and the columns they learn from."""
