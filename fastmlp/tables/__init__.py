"""Tables of names: activations, losses, optimizers, schedules, initial distributions.

Each file is one table, and each row says all about a name but its kernel: its code, its
formula, where it was published, and what it is in plain NumPy. Importing a table needs
no numba. `fastmlp.kernels` has a function for each row that kernels need.
"""
