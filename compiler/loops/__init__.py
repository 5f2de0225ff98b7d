"""Passes over loop kernels, one a file."""
