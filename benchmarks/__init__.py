"""Measurements, printed as ratios of ways measured side by side in one run."""
