"""One network of a model for tables: its layers, its first parameters, its training."""

import math
import time
from itertools import pairwise

import numpy as np

from fastmlp.engine.jobs import PredictionJob, TrainingJob
from fastmlp.engine.network import Network
from fastmlp.engine.options import StepOptions
from fastmlp.kernels.layers.dense import Dense
from fastmlp.kernels.layers.encoding import Encoding
from fastmlp.tables.activations import ACTIVATIONS
from fastmlp.tables.encodings import N_FREQUENCIES, NUMBER, encode, scaled
from fastmlp.tables.recipes import SHAPES
from fastmlp.training.events import Events
from fastmlp.training.optimizer import Optimizer
from fastmlp.training.run import Run, Stopping, TimeIsUp
from fastmlp.training.schedules import OfFraction

__all__ = [
    "HeldOut",
    "Member",
    "initialize",
    "job_for",
    "layers_for",
    "network_for",
    "optimizer_for",
]

#: Samples that first weights and biases are fitted to, and of which each bias is made.
_INITIAL_ROWS = 1000
_ROWS_OF_A_BIAS = 5
_MANY_ROWS = 100_000

_BETA_1, _EPSILON = 0.9, 1e-8


def layers_for(columns, n_outputs, recipe):
    """The layers of a network.

    A layer with n inputs, as its recipe has it, divides products by sqrt(n); here the
    first weights are smaller by that factor instead, and their learning rate: for Adam,
    that is the same.

    columns : sequence of fastmlp.tables.encodings.Column
    recipe : fastmlp.tables.recipes.Recipe
    """
    first = Encoding(
        tuple(columns),
        recipe.n_cosines,
        recipe.n_embedded,
        factors_rate=recipe.factors_rate,
        cosines_rate=recipe.cosines_rate,
    )
    hidden = len(recipe.widths)
    units = first.fan_out, *recipe.widths, n_outputs
    return [
        first,
        *(
            Dense(
                fan_in,
                fan_out,
                weights_rate=1 / math.sqrt(fan_in),
                biases_rate=recipe.biases_rate,
                alphas_rate=recipe.alphas_rate,
                is_parametric=recipe.is_parametric and i < hidden,
            )
            for i, (fan_in, fan_out) in enumerate(pairwise(units))
        ),
    ]


def network_for(columns, n_outputs, recipe):
    """The network of a recipe, to be trained: see `layers_for`."""
    layers = layers_for(columns, n_outputs, recipe)
    return Network(layers, "float32", optimizer="adam")


def job_for(
    network, X, targets, sample_weight, recipe, *, samples, batch_size, seed, n_threads
):
    """The steps of a recipe: see `fastmlp.engine.jobs.TrainingJob`.

    seed : int
        Of dropout.
    """
    hidden = len(recipe.widths)
    return TrainingJob(
        network, X, targets.for_kernels(), sample_weight, samples=samples,
        batch_size=batch_size, activation=[recipe.activation] * hidden,
        loss=targets.loss, n_threads=n_threads,
        options=StepOptions(
            loss_parameters=targets.parameters,
            dropout=(0.0, 0.0, *(recipe.dropout,) * hidden),
            seed=seed,
            weight_decay=recipe.decay,
        ),
    )  # fmt: skip


def optimizer_for(recipe):
    """The optimizer of a recipe, at the start of the training."""
    schedule = OfFraction(recipe.rate, factor=SHAPES[recipe.rate_shape].value)
    strength = SHAPES[recipe.strength_shape].value
    return Optimizer(
        "adam", schedule, _BETA_1, recipe.beta_2, _EPSILON, strength=strength
    )


def _draw_cosines(cosines, spread, rng):
    """First parameters of the embeddings of numbers, see `tables.encodings.encode`.

    cosines : to be filled, for each number its n_cosines + 3 rows.
    """
    n_cosines = cosines.shape[1] - 3
    bound = 1 / math.sqrt(N_FREQUENCIES)
    cosines[:, 0] = rng.normal(0, spread, cosines[:, 0].shape)
    cosines[:, 1] = rng.uniform(-math.pi, math.pi, cosines[:, 1].shape)
    cosines[:, 2:-1] = rng.uniform(-bound, bound, cosines[:, 2:-1].shape)
    biases = cosines[:, -1, :n_cosines]
    biases[:] = rng.uniform(-bound, bound, biases.shape)


def _ramps_between(z):
    """(slopes, offsets) of ramps, each from 0 to 1 between two quantiles of z."""
    edges = np.unique(np.quantile(z, np.linspace(0, 1, N_FREQUENCIES + 1)))
    slopes, offsets = np.zeros(N_FREQUENCIES), np.zeros(N_FREQUENCIES)
    n = len(edges) - 1
    slopes[:n] = 1 / np.diff(edges)
    offsets[:n] = -edges[:-1] * slopes[:n]
    return slopes, offsets


def _set_ramps(cosines, columns, X):
    """For columns whose embedding is linear in pieces: ramps, and weights of 0."""
    numbers = [j for j, column in enumerate(columns) if column.kind == NUMBER]
    for own, j in zip(cosines, numbers, strict=True):
        column, x = columns[j], X[:, j].astype(np.float64)
        if column.is_piecewise:
            z = scaled(column, x[~np.isnan(x)])
            own[:] = 0
            if len(z):
                own[:2] = _ramps_between(z)


def _draw_layer(a, fan_out, rng):
    """(weights, biases) with which pre-activations of the inputs a have variance 1.

    A bias is so that the unit's pre-activation is 0 at a point between some samples.
    """
    n, fan_in = a.shape
    w = rng.normal(size=(fan_in, fan_out)) / math.sqrt(fan_in)
    z = a @ w
    spread = z.std(axis=0)
    spread[spread < 1e-8] = 1.0
    shares = rng.exponential(size=(_ROWS_OF_A_BIAS, fan_out))
    shares /= shares.sum(axis=0)
    rows = rng.integers(0, n, _ROWS_OF_A_BIAS)
    return w / spread, -(shares * z[rows] / spread).sum(axis=0)


def initialize(network, X, recipe, rng):
    """Draw the first parameters.

    X : some samples, as the network takes them.
    rng : numpy.random.Generator
    """
    encoding, *dense = network.architecture
    drawn = dict(zip(network.groups, network.read(np.float64), strict=True))
    (factors,), (cosines,), (tables,) = (
        drawn[group] for group in ("factors", "cosines", "tables")
    )
    if cosines.size:
        of_numbers = cosines.reshape(-1, encoding.n_cosines + 3, N_FREQUENCIES)
        _draw_cosines(of_numbers, recipe.spread, rng)
        _set_ramps(of_numbers, encoding.columns, X)
    tables[:] = rng.normal(size=tables.size)
    a = encode(
        encoding.columns, X, factors, cosines, tables, encoding.n_cosines,
        encoding.n_embedded,
    )  # fmt: skip
    g = ACTIVATIONS[recipe.activation].value
    for i, layer in enumerate(dense):
        if recipe.draws_from_data:
            w, b = _draw_layer(a, layer.fan_out, rng)
        elif i < len(dense) - 1:
            w = rng.normal(size=(layer.fan_in, layer.fan_out)) / math.sqrt(layer.fan_in)
            b = rng.normal(size=layer.fan_out)
        else:
            w, b = 0.0, 0.0
        drawn["weights"][i][:], drawn["biases"][i][:] = w, b
        a = g(a @ drawn["weights"][i] + drawn["biases"][i])
    network.write(*drawn.values())


class HeldOut:
    """Samples that a member does not train on: its scores, its best parameters.

    Parameters
    ----------
    job : fastmlp.engine.jobs.PredictionJob
        Of the network in training, on these samples, with raw outputs.
    score : callable
        From raw outputs to a number, to be high.

    Attributes
    ----------
    outputs : ndarray of shape (n_samples, n_outputs)
        With the best parameters.
    """

    def __init__(self, job, score):
        self._job, self._score = job, score
        self._parameters = job.network.arena.arrays["parameters"]
        self._best = self.outputs = None

    def evaluate(self, team, is_first=False):
        """(score, loss: not needed) of the network as it is now."""
        self._now = self._job.run(team)
        return self._score(self._now), math.nan

    def keep(self):
        """Remember these parameters."""
        self._best = self._parameters.copy()
        self.outputs = self._now.astype(self._parameters.dtype)  # nothing is lost

    def release(self):
        """Forget all but the outputs."""
        self._job = self._score = self._parameters = self._best = self._now = None

    def restore(self):
        """Put back the parameters that were kept last."""
        if self._best is not None:
            self._parameters[:] = self._best


class _LastOfBest(Stopping):
    """Never stops; of epochs with the same score, the last is the best."""

    def update(self, value):
        is_best = value >= self.best
        if is_best:
            self.best = value
        return is_best


class Member:
    """A network in training.

    Parameters
    ----------
    columns : sequence of fastmlp.tables.encodings.Column
    X : ndarray of shape (n_samples, n_columns), float32
    targets : fastmlp.data.targets.Targets
    sample_weight : ndarray of shape (n_samples,) or None
    recipe : fastmlp.tables.recipes.Recipe
    samples : ndarray of int
        To train on.
    held_out : tuple, default=None
        (X, indices of its samples, score from raw outputs).
    seed : int
    n_threads : int
    deadline : float, default=inf
        By ``time.perf_counter``.
    events : fastmlp.training.events.Events, default=None
    make_job : callable, default=job_for
        Makes what runs the steps.
    """

    def __init__(
        self, columns, X, targets, sample_weight, recipe, samples, held_out=None, *,
        seed, n_threads=1, deadline=math.inf, events=None, make_job=job_for,
    ):  # fmt: skip
        rng = np.random.default_rng(seed)
        self.network = network = network_for(columns, targets.n_outputs, recipe)
        some = samples
        if len(samples) > _MANY_ROWS:  # of which a permutation would take memory
            some = rng.choice(samples, _INITIAL_ROWS, replace=False)
        some = np.sort(rng.permutation(some)[:_INITIAL_ROWS])
        initialize(network, X[some], recipe, rng)
        job = make_job(
            network, X, targets, sample_weight, recipe, samples=samples,
            batch_size=min(recipe.batch_size, len(samples)),
            seed=int(rng.integers(2**31)), n_threads=n_threads,
        )  # fmt: skip
        self.held_out = None
        if held_out is not None:
            X_held, samples_held, score = held_out
            validation = PredictionJob(
                network, X_held, samples=samples_held,
                activation=[recipe.activation] * len(recipe.widths),
                output_activation="identity", n_threads=n_threads, dtype=np.float64,
            )  # fmt: skip
            self.held_out = HeldOut(validation, score)
        self.run = Run(
            job, optimizer_for(recipe),
            _LastOfBest(0.0, math.inf, by_score=held_out is not None),
            np.random.RandomState(rng.integers(2**31)), recipe.n_epochs,
            n_threads=n_threads, validation=self.held_out, deadline=deadline,
            events=events or Events(),
        )  # fmt: skip
        self.history, self.score = self.run.history, self.run.stopping.best
        self.seconds, self.is_complete = 0.0, False

    def train(self, n_epochs=math.inf):
        """Train to the end of the recipe, or until there is no more time, in pieces.

        Or up to the end of an epoch: another call goes on from there.  Whatever ends
        it, the best parameters are there afterwards, `history`, `score`, `seconds`,
        and `is_complete`, whether it was the end of the recipe; what only training
        needs, which for many samples is much, is not.
        """
        if self.run is None:
            return
        started = time.perf_counter()
        is_paused = False
        try:
            if not self.history.loss_curve:
                self.run.begin()
            while not is_paused:
                if not (yield from self.run.epoch()):
                    self.is_complete = True
                    break
                is_paused = len(self.history.loss_curve) >= n_epochs
        except TimeIsUp:
            self.history.out_of_time = True
        finally:  # which closing this work comes to as well
            self.score = self.run.stopping.best
            self.seconds += time.perf_counter() - started
            if not is_paused:
                self.end()

    def end(self):
        """Forget what only training needs, if that is still there."""
        if self.run is not None:
            self.run.end()
            self.run = None
            if self.held_out is not None:
                self.held_out.release()

    def parameters(self):
        """Copies of all parameters, group by group."""
        return dict(zip(self.network.groups, self.network.read(), strict=True))
