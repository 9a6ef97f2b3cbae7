"""Damaged and hostile files: each is read, or refused by its name."""
