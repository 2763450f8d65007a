"""Benchmarks: what a team reaches where the best that can be reached is known."""
