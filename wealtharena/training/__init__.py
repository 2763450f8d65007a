"""A run, from the experiment file to its checkpoints."""
