"""Transforms: loading, geometry, colour and formatting."""
from . import colour, loading, transforms
