"""Data of the compiler: types, graphs, loop kernels, artifacts, and their text."""
