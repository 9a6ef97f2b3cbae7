"""Metrics: sums per image, tables, curves and intervals; numbers only."""
