"""Pseudo labels: what a stage-2 config reads, and what became of it."""
