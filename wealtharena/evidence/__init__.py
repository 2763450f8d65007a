"""What a run is worth: evaluation, baselines, statistics, report."""
