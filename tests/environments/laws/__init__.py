"""The laws of the market as plain functions ``law(make, seed)``: see ``worlds.Make``."""
