"""Agents as objects: made, trained, asked, saved and loaded from Python, one by one or as a team."""
