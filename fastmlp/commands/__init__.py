"""What `python -m fastmlp` does."""
