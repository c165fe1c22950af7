"""What asv runs is in bench_*.py; the other modules are for reports."""
