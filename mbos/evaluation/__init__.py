"""Evaluation of test sets, thresholds and comparisons."""
