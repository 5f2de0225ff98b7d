"""Facts about graphs and kernels: analyses change nothing."""
