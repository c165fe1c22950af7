"""X and y: what is refused, scaling, samples as kernels read them, targets."""
