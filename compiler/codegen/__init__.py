"""LLVM text from loop kernels: target description, emitter, vector math, matrix kernels."""
