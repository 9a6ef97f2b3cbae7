"""Checkpoints: reading without trust, layouts, publishing, export."""
