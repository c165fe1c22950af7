"""Whole pipelines as one call, for services that answer row by row."""

from fastmlp.inference.pipelines import predictor

__all__ = ["predictor"]
