"""The solver 'lbfgs': SciPy's L-BFGS-B on the loss of all samples.

The samples pass through the network in pieces, so that the memory for activations does
not grow with their number.  The kernels add up the gradients of the pieces.
"""

import numpy as np
import scipy
from scipy.optimize import OptimizeResult, minimize

from fastmlp.engine.pieces import finish
from fastmlp.training.events import Events
from fastmlp.training.run import run_steps

__all__ = ["minimize_loss", "rows_of_a_piece"]

#: Bytes of activations and deltas per piece, and bounds on its rows: each piece costs
#: two barriers and a pass over the gradient.
_PIECE_BYTES = 4 * 1024 * 1024
_LEAST_ROWS, _MOST_ROWS = 256, 4096


def rows_of_a_piece(network, n_samples, sparse=False):
    """Number of samples that pass through the network together.

    sparse : whether X is sparse; its rows are then not copied.
    """
    units = sum(network.units[1:] if sparse else network.units)
    fitting = _PIECE_BYTES // (2 * units * network.dtype.itemsize)
    return min(n_samples, max(_LEAST_ROWS, min(_MOST_ROWS, fitting)))


class _Objective:
    """x -> (loss, gradient) of the network whose parameters are the vector x."""

    def __init__(self, job, team, events):
        self._job = job
        self._team = team
        self._events = events
        self.iterates, self.n_begun = False, 0
        self._sums = job.network.arena.arrays["gradient"]
        # two vectors, and views of them for the weights and biases
        self._x, self._gradient = np.empty((2, job.network.n_parameters))
        self._parameters = job.network.split(self._x)
        self._gradients = job.network.split(self._gradient)

    def __call__(self, x):
        job, network = self._job, self._job.network
        if not self.iterates:
            self.iterates = True
            self.n_begun += 1
            self._events.begin(self.n_begun)
        self.write(x)
        job.refresh()
        self._sums[:] = 0
        self._team.check()
        total = finish(run_steps(job, {}, self._team.size), self._team)
        loss = total / job.n_samples
        network.read(array="gradient", out=self._gradients)
        return loss, self._gradient.copy()

    def write(self, x):
        """Write x to the parameters of the network."""
        self._x[:] = x
        self._job.network.write(*self._parameters)


def minimize_loss(job, team, *, max_iter, max_fun, tol, verbose=False, events=None):
    """Minimise the loss of a job over the parameters of its network.

    The caller limits BLAS: see `fastmlp.training.blas`.

    Parameters
    ----------
    job : fastmlp.engine.jobs.TrainingJob
        Of a network for the optimizer ``gradient``, which holds the initial weights,
        and at the end the best ones.
    team : fastmlp.engine.threads.Team
    max_iter, max_fun : int
        Most iterations, and most evaluations of the loss.
    tol : float
        Stop when the largest element of the (projected) gradient is at most this.
    verbose : bool, default=False
        Whether SciPy prints its progress (SciPy before 1.15).
    events : fastmlp.training.events.Events, default=None
        Receives the iterations, and can stop the fit.

    Returns
    -------
    result : scipy.optimize.OptimizeResult
        ``status`` is -1 if it was interrupted (Ctrl-C), 99 if `events` stopped it.

    References
    ----------
    Byrd, Lu, Nocedal and Zhu, "A limited memory algorithm for bound constrained
    optimization", SIAM Journal on Scientific Computing 16 (1995).
    """
    network = job.network
    events = events or Events()
    start = np.concatenate([a.ravel() for part in network.read() for a in part])
    last = OptimizeResult(x=start.astype(np.float64), fun=np.inf, nit=0, status=-1)
    raised = []
    events.train_begins()

    def iteration_ends(intermediate_result):
        x, loss = intermediate_result.x.copy(), float(intermediate_result.fun)
        last.update(x=x, fun=loss, nit=last.nit + 1)
        if events.reads_weights:
            # the network may hold a point that the line search has rejected
            objective.write(x)
        objective.iterates = False  # the next evaluation begins another iteration
        try:
            stops = events.end(last.nit, loss)
        except StopIteration as error:  # SciPy takes it for ours
            raised.append(error)
            raise
        if stops:
            raise StopIteration

    options = {"maxfun": max_fun, "maxiter": max_iter, "gtol": tol}
    if _before_scipy_1_15():
        options["iprint"] = 1 if verbose else -1
    try:
        objective = _Objective(job, team, events)
        result = minimize(
            objective, last.x, method="L-BFGS-B", jac=True,
            callback=iteration_ends, options=options,
        )  # fmt: skip
    except KeyboardInterrupt:
        result = last
    if raised:
        raise raised[0]
    network.write(*network.split(result.x))
    return result


def _before_scipy_1_15():
    major, minor = scipy.__version__.split(".")[:2]
    return (int(major), int(minor)) < (1, 15)
