"""Kernels that make training and inference on a CPU faster."""
