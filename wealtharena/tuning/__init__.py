"""Sweeps: many trainings of one experiment file, each with other values, on Ray Tune."""
