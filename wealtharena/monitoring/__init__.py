"""A run as others watch it: gauges for Prometheus and Grafana, and trackers of experiments."""
