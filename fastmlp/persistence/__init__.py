"""Saved models, and models of scikit-learn."""
