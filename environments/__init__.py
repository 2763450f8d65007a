"""Simulators: many copies of a world stepped together as torch tensors."""
