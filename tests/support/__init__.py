"""What several tests share: builders, strategies, and where compiled kernels are kept."""
