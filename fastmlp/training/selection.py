"""Weights of the members of an ensemble, by what they predict for held-out samples."""

import numpy as np

__all__ = ["greedy_selection"]


def greedy_selection(predictions, score, n_rounds=50):
    """Weights with which means of predictions score best.

    Member after member is added, the same one several times if that is best.

    Parameters
    ----------
    predictions : sequence of ndarray, all of the same shape
    score : callable
        From predictions to a number, to be high.
    n_rounds : int, default=50

    Returns
    -------
    ndarray of shape (n_members,)
        Whose sum is 1.

    References
    ----------
    Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of
    models" (2004).
    """
    total = np.zeros_like(predictions[0], dtype=np.float64)
    counts = np.zeros(len(predictions))
    best, weights = -np.inf, None
    for n in range(1, n_rounds + 1):
        scores = [score((total + each) / n) for each in predictions]
        chosen = int(np.argmax(scores))
        total += predictions[chosen]
        counts[chosen] += 1
        if weights is None or scores[chosen] > best:
            best, weights = scores[chosen], counts / n
    return weights
