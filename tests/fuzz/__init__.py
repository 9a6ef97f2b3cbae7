"""Damaged and hostile files: each is read, or refused in words that name it.

``python -m tests.fuzz --cases 2000`` runs many and prints counts.
"""
