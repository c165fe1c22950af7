"""The samples of a fit: what estimators have checked, and kernels read."""

from typing import NamedTuple

import numpy as np

__all__ = ["Samples"]


class Samples(NamedTuple):
    """Samples to train on or to validate on, checked."""

    X: object  # as the network takes them
    targets: object  # fastmlp.data.targets.Targets
    sample_weight: object  # ndarray of shape (n_samples,) or None
    X_given: object  # X and y as `score` takes them
    y: object
    scoring_weight: object  # like sample_weight, without the weights of classes
    names: object = None  # of the features
    rows: object = None  # those of X and X_given that the samples are; None for all
    #: Where all samples come from, if these are some that only stand for them.
    stream: object = None  # fastmlp.training.stream.Stream

    @property
    def n_samples(self):
        if self.stream is not None:
            return self.stream.n_samples
        return len(self.targets.values)

    def rows_of(self, samples):
        """The rows of X that these samples are; None for all samples, or all rows."""
        if self.rows is None or samples is None:
            return samples if self.rows is None else self.rows
        return self.rows[samples]

    def for_kernels(self, of_samples):
        """One number or more per sample, as a number or more per row of X."""
        if self.rows is None or of_samples is None:
            return of_samples
        of_rows = np.zeros((self.X.shape[0], *of_samples.shape[1:]), of_samples.dtype)
        of_rows[self.rows] = of_samples
        return of_rows
