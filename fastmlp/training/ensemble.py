"""Several estimators of one network each, fitted side by side to rows of one X."""

import time
from dataclasses import dataclass, field

import numpy as np
from sklearn import get_config, set_config

from fastmlp.engine.pieces import Failure, in_turn, side_by_side
from fastmlp.training.blas import one_thread_of_blas

__all__ = ["EnsembleFit"]

#: Rows that a member predicts together, of those that it holds out.
_ROWS_AT_ONCE = 4096

#: Seconds that a member may take, where a time limit has passed before it begins.
_LEAST_SECONDS = 1e-3


@dataclass
class EnsembleFit:
    """The fits of the members of an ensemble.

    Parameters
    ----------
    members : sequence of fastmlp.estimators.perceptron.MultiLayerPerceptron
        To be fitted.
    X : ndarray or sparse matrix in compressed rows, of shape (n_samples, n_features)
        Checked.
    y : ndarray or sparse matrix of shape (n_samples,) or (n_samples, n_outputs)
    sample_weight : ndarray of shape (n_samples,) or None
    part_of : callable
        From the position of a member to the rows of X that it is trained on, and those
        that it holds out; None for all, and for none.
    classes : ndarray or None
        All classes.
    validation : tuple
        X_val, y_val and sample_weight_val of a validation set for all, or of None.
    validates : bool
        Whether members without such a set validate on what they hold out.
    n_threads : int
    time_limit : float or None
        Seconds, of all fits together.
    member_ends : callable
        Is told of each member that is done.
    is_one_of_many : bool, default=False
        Whether other fits run beside this one: members are then fitted one after the
        other, on the threads that this one is given, and Ctrl-C ends all of it.

    Attributes
    ----------
    fitted : dict of int to estimator
        By position, those that are done.
    held_out : dict of int to ndarray of shape (n_held_out,)
        The rows of X that each of them holds out, if it does.
    predictions : dict of int to ndarray of shape (n_held_out, n_outputs)
        Its predictions for these.
    interrupted : bool
        By Ctrl-C.
    """

    members: list
    X: object
    y: object
    sample_weight: object
    part_of: object
    classes: object
    validation: tuple
    validates: bool
    n_threads: int
    time_limit: float | None
    member_ends: object
    is_one_of_many: bool = False
    fitted: dict = field(default_factory=dict)
    held_out: dict = field(default_factory=dict)
    predictions: dict = field(default_factory=dict)
    interrupted: bool = False

    def run(self):
        """Fit all members, in pieces: see `fastmlp.engine.pieces`.

        Raises
        ------
        Exception
            What the fit of a member raises; the message says which member it was.
        KeyboardInterrupt
            If no member has been fitted when it comes.
        """
        started = time.perf_counter()
        config = get_config()  # which each thread has of its own
        works = (self._work(i, started) for i in range(len(self.members)))
        try:
            if self.is_one_of_many:
                yield from in_turn(works, self._take)
            else:
                with one_thread_of_blas():  # for members with lbfgs
                    side_by_side(
                        works, self.n_threads, self._take, lambda: set_config(**config)
                    )
        except KeyboardInterrupt:
            if self.is_one_of_many or not self.fitted:
                raise
            self.interrupted = True

    def _take(self, position, result):
        if isinstance(result, Failure):
            raise self._named(result.error, position)
        self.fitted[position] = self.members[position]
        if result is not None:
            self.held_out[position], self.predictions[position] = result
        self.member_ends(self.members[position])

    def _named(self, error, position):
        """An error that says which member it is of."""
        seed = self.members[position].random_state
        name = f"member {position + 1} of {len(self.members)} (random_state={seed})"
        if type(error) is not ValueError:  # others may need other arguments
            error.add_note(f"This is from the fit of {name}.")
            return error
        named = ValueError(f"The fit of {name} failed: {error}")
        named.__cause__ = error
        return named

    def _work(self, position, started):
        """The fit of a member, in pieces, and what it predicts of rows held out."""
        member = self.members[position]
        if self.time_limit is not None:
            waiting = len(self.members) - position
            left = started + self.time_limit - time.perf_counter()
            at_a_time = 1 if self.is_one_of_many else self.n_threads
            share = left * min(at_a_time, waiting) / waiting
            member.time_limit = max(share, _LEAST_SECONDS)
        rows, held_out = self.part_of(position)
        validation, validation_rows = self.validation, None
        if self.validates and held_out is not None and len(held_out):
            y, weights = self._samples(held_out)
            if weights is not None and not weights.any():
                weights = None  # all alike
            validation_rows, validation = held_out, (None, y, weights)
        yield from member._pieces_of_fit(
            self.X, *self._samples(rows), classes=self.classes, rows=rows,
            validation=validation, validation_rows=validation_rows, checked=self.X,
            warned=True, is_one_of_many=True,
        )  # fmt: skip
        if held_out is None:
            return None
        blocks = []
        for start in range(0, len(held_out), _ROWS_AT_ONCE):
            yield 1
            rows = held_out[start : start + _ROWS_AT_ONCE]
            blocks.append(member._outputs_of_checked(self.X[rows], None))
        empty = np.zeros((0, member.n_outputs_), self.X.dtype)
        return held_out, np.concatenate(blocks or [empty])

    def _samples(self, rows):
        """(y, sample_weight) of rows of X."""
        weights = self.sample_weight
        if rows is None:
            return self.y, weights
        return self.y[rows], None if weights is None else weights[rows]
