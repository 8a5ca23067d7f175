"""The choice of kernels: predicted costs, measured times, the order of the steps."""
