"""Between Python and kernels: arrays, records of addresses, teams of threads."""
