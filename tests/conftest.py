"""What every test may count on."""
# Before any test imports mmseg: the stand-in for mmcv's compiled operators.
import mbos.registration  # noqa: F401
