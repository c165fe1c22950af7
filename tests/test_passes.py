"""Whole networks: gradients, single steps, epochs, threads, prediction."""

from itertools import product

import guards
import numba
import numpy as np
import pytest
import reference
from data import random_network, random_targets, training_job
from numba.core.runtime import _nrt_python, rtsys
from scipy.sparse import csr_array

from fastmlp.engine import jobs
from fastmlp.engine.jobs import PredictionJob, TrainingJob
from fastmlp.engine.network import Network
from fastmlp.engine.threads import Team
from fastmlp.engine.warming import compile_kernels
from fastmlp.kernels import passes

#: What scikit-learn's network has; tests/test_general.py has the others.
ACTIVATIONS = ("identity", "logistic", "relu", "tanh")
LOSSES = ("squared_error", "log_loss", "binary_log_loss", "poisson")
OPTIMIZERS = ("sgd", "momentum", "nesterov", "adam")
ODD_NETWORKS = [(1, 1), (3, 2), (5, 1, 3), (13, 25, 24, 3), (49, 7, 100, 5, 2)]


@pytest.fixture(params=[0, 1, 3], ids=["tiles", "one strip", "three strips"])
def cut(request, monkeypatch):
    """How steps cut their batch, whatever would pay."""
    monkeypatch.setattr(jobs, "strips_of", lambda network, batch_size: request.param)
    return request.param


def run_all(job, n_threads=1, **rates):
    with Team(n_threads) as team:
        return job.run(team, 0, job.n_steps, **rates) / job.n_samples


def gradient(units, X, y, coefs, intercepts, dtype="float64", **settings):
    """(loss, gradient by weights, gradient by biases) from the kernels."""
    job = training_job(units, X, y, coefs, intercepts, dtype=dtype, **settings)
    loss = run_all(job)
    return loss, *job.network.read(np.float64, "gradient")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_by_central_differences(activation, loss, n_outputs, weighted, cut):
    """The gradient is the gradient of the loss that is reported."""
    units = (4, 9, 5, n_outputs)
    rng = np.random.default_rng(1)
    X = rng.standard_normal((11, 4))
    y = random_targets(loss, 11, n_outputs)
    coefs, intercepts = random_network(units)
    settings = {"activation": activation, "loss": loss, "l2": 0.7}
    if weighted:
        settings["sample_weight"] = rng.uniform(0, 2, 11)
    _, by_coefs, by_intercepts = gradient(units, X, y, coefs, intercepts, **settings)
    h = 1e-6

    def loss_at(array, index, value):
        before = array[index]
        array[index] = value
        result = gradient(units, X, y, coefs, intercepts, **settings)[0]
        array[index] = before
        return result

    for arrays, gradients in ((coefs, by_coefs), (intercepts, by_intercepts)):
        for array, analytic in zip(arrays, gradients, strict=True):
            for index in list(np.ndindex(array.shape))[::7]:
                up = loss_at(array, index, array[index] + h)
                down = loss_at(array, index, array[index] - h)
                numerical = (up - down) / (2 * h)
                assert analytic[index] == pytest.approx(numerical, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_samples", [1, 2, 13, 130])
@pytest.mark.parametrize("units", ODD_NETWORKS)
def test_loss_and_gradient_against_the_reference(units, n_samples, dtype, cut):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, units[0]))
    weights = rng.uniform(0.1, 2, n_samples)
    coefs, intercepts = random_network(units)
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    for activation, loss in product(ACTIVATIONS, LOSSES):
        y = random_targets(loss, n_samples, units[-1])
        settings = {"activation": activation, "loss": loss, "l2": 0.3}
        result = gradient(
            units, X, y, coefs, intercepts, dtype, sample_weight=weights, **settings
        )
        expected = reference.loss_of(
            X, y, coefs, intercepts, weights=weights, **settings
        )
        assert result[0] == pytest.approx(expected, rel=10 * tolerance)
        expected = reference.gradient_of(
            X, y, coefs, intercepts, weights=weights, **settings
        )
        for arrays, references in zip(result[1:], expected, strict=True):
            for array, exact in zip(arrays, references, strict=True):
                scale = max(1, np.abs(exact).max())
                np.testing.assert_allclose(array, exact, rtol=0, atol=tolerance * scale)


def test_gradient_of_a_deep_and_wide_network_with_blocked_products(cut):
    """Long enough in every direction that products and sums run in several blocks."""
    units = (700, 300, 2)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1100, units[0]))
    y = random_targets("log_loss", 1100, 2)
    coefs, intercepts = random_network(units)
    settings = {"activation": "tanh", "loss": "log_loss"}
    _, *result = gradient(units, X, y, coefs, intercepts, **settings)
    expected = reference.gradient_of(X, y, coefs, intercepts, **settings)
    for arrays, references in zip(result, expected, strict=True):
        for array, exact in zip(arrays, references, strict=True):
            np.testing.assert_allclose(array, exact, atol=1e-13)


def test_one_step_worked_by_hand():
    """Two inputs, one hidden ReLU, one output; squared error; plain descent."""
    X, y = np.array([[1.0, 2.0]]), np.array([[1.0]])
    coefs = [np.array([[0.5], [0.25]]), np.array([[2.0]])]
    intercepts = [np.array([0.5]), np.array([-1.0])]
    job = training_job((2, 1, 1), X, y, coefs, intercepts, optimizer="sgd")
    # z = 0.5*1 + 0.25*2 + 0.5 = 1.5 = a;  f = 2*1.5 - 1 = 2;  loss = (2 - 1)^2 / 2
    assert run_all(job, rate=0.1) == 0.5
    # output delta 1: dw2 = a = 1.5, db2 = 1; hidden delta 2: dw1 = 2*(1, 2), db1 = 2
    coefs, intercepts = job.network.read()
    np.testing.assert_allclose(coefs[0], [[0.3], [-0.15]], rtol=1e-15)
    np.testing.assert_allclose(intercepts[0], [0.3], rtol=1e-15)
    np.testing.assert_allclose(coefs[1], [[1.85]], rtol=1e-15)
    np.testing.assert_allclose(intercepts[1], [-1.1], rtol=1e-15)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_epochs_against_the_reference(loss, optimizer, cut):
    """Three epochs of shuffled mini-batches, the last one of each short."""
    units, n_samples, batch_size = (6, 27, 10, 3), 50, 16
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, 6))
    y = random_targets(loss, n_samples, 3)
    coefs, intercepts = random_network(units)
    states = [{} for _ in coefs + intercepts]
    rates = {"rate": 0.02, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}
    if optimizer == "sgd":
        rates["beta_1"] = 0.0
    settings = {"activation": "tanh", "loss": loss, "l2": 0.1}
    job = training_job(
        units, X, y, coefs, intercepts, optimizer=optimizer, batch_size=batch_size,
        **settings,
    )  # fmt: skip
    for epoch in range(3):
        rng.shuffle(job.order)
        coefs, intercepts, expected = reference.train_epoch(
            X, y, coefs, intercepts, states, job.order, batch_size, optimizer, rates,
            **settings,
        )  # fmt: skip
        result = run_all(job, n_updates=epoch * job.n_steps, **rates)
        assert result == pytest.approx(expected, rel=1e-12)
    for arrays, references in zip(job.network.read(), (coefs, intercepts), strict=True):
        for array, exact in zip(arrays, references, strict=True):
            np.testing.assert_allclose(array, exact, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["adam", "nesterov"])
def test_weights_and_losses_are_bitwise_equal_for_any_number_of_threads(
    optimizer, dtype, cut
):
    units, n_samples = (33, 70, 26, 4), 301
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, 33))
    y = random_targets("log_loss", n_samples, 4)
    coefs, intercepts = random_network(units)
    weights = rng.uniform(size=n_samples)
    order = rng.permutation(n_samples)
    results = set()
    for n_threads in (1, 2, 3, 5):
        job = training_job(
            units, X, y, coefs, intercepts, dtype=dtype, optimizer=optimizer,
            loss="log_loss", activation="tanh", batch_size=64, l2=0.1,
            n_threads=n_threads, sample_weight=weights,
        )  # fmt: skip
        job.order[:] = order
        losses = [
            run_all(job, n_threads, rate=0.01, beta_1=0.9, beta_2=0.999, epsilon=1e-8,
                    n_updates=epoch * job.n_steps)
            for epoch in range(3)
        ]  # fmt: skip
        parameters = job.network.arena.arrays["parameters"].tobytes()
        results.add((parameters, tuple(losses)))
    assert len(results) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_padding_stays_zero(dtype, cut):
    """Even with units whose activation of zero is not zero."""
    units = (5, 9, 3)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((37, 5))
    y = random_targets("log_loss", 37, 3)
    job = training_job(
        units, X, y, *random_network(units), dtype=dtype, optimizer="adam",
        loss="log_loss", activation="logistic", batch_size=10, l2=0.5,
    )  # fmt: skip
    for epoch in range(5):
        run_all(job, rate=0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-8,
                n_updates=epoch * job.n_steps)  # fmt: skip
    network = job.network
    total = np.count_nonzero(network.arena.arrays["parameters"])
    read = network.read()
    assert total == sum(np.count_nonzero(a) for arrays in read for a in arrays)
    if cut:
        return
    # and the transposed copies are copies
    fresh = training_job(units, X, y, *read, dtype=dtype, loss="log_loss")
    np.testing.assert_array_equal(
        fresh.network.arena.arrays["transposed"], network.arena.arrays["transposed"]
    )


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("units", ODD_NETWORKS)
@pytest.mark.parametrize("output", reference.OUTPUT_ACTIVATIONS)
def test_prediction_against_the_reference(output, units, dtype, precision, n_threads):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, units[0])).astype(dtype)
    network = Network(units, precision)
    coefs, intercepts = random_network(units)
    network.write(coefs, intercepts)
    tolerance = 1e-12 if dtype == np.float64 == np.dtype(precision) else 1e-5
    for activation in ACTIVATIONS:
        job = PredictionJob(
            network, X, activation=activation, output_activation=output,
            n_threads=n_threads,
        )  # fmt: skip
        with Team(n_threads) as team:
            result = job.run(team)
        assert result.dtype == dtype
        expected = reference.predict(X, coefs, intercepts, activation, output)
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_a_row_is_predicted_the_same_in_any_batch(activation, dtype):
    """One row goes by products of its own; units around the edges of panels."""
    edges = guards.edges(dtype)
    for units in ((30, 50, 4), edges, edges[::-1], (1, 1), (edges[-1], 2)):
        network = Network(units, dtype)
        network.write(*random_network(units))
        X = np.random.default_rng(0).standard_normal((517, units[0]))

        def predict(X, n_threads=1, network=network):
            job = PredictionJob(
                network, X, activation=activation, output_activation="softmax",
                n_threads=n_threads, dtype=dtype,
            )  # fmt: skip
            with Team(n_threads) as team:
                return job.run(team)

        whole = predict(X)
        for part in (slice(0, 1), slice(3, 4), slice(5, 12), slice(0, 65), slice(516)):
            np.testing.assert_array_equal(predict(X[part]), whole[part])
        np.testing.assert_array_equal(predict(X[7:8].copy("F")), whole[7:8])
        np.testing.assert_array_equal(predict(csr_array(X[7:8])), whole[7:8])
        np.testing.assert_array_equal(predict(X, 3), whole)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_mean_of_several_networks(n_threads):
    """To the bit the sum of their predictions, in order, divided by how many."""
    units, n_members = (7, 50, 3), 5
    network = Network(units, "float32")
    stack = network.stack(n_members)
    assert stack.shape[0] == n_members
    X = np.random.default_rng(0).standard_normal((301, 7))
    settings = {
        "activation": "tanh", "output_activation": "softmax", "n_threads": n_threads
    }  # fmt: skip
    total = 0.0
    with Team(n_threads) as team:
        for seed, array in enumerate(stack):
            weights = random_network(units, seed)
            network.write(*weights)
            network.write(*weights, array=array)
            total += PredictionJob(network, X, **settings).run(team)
        mean = PredictionJob(network, X, array=stack, **settings).run(team)
        np.testing.assert_array_equal(mean, total / n_members)
        row = PredictionJob(network, X[3:4], array=stack, **settings).run(team)
        np.testing.assert_array_equal(row, mean[3:4])
        alone = PredictionJob(network, X, array=network.stack(1), **settings)
        assert (alone.run(team) == 1 / 3).all()  # all weights are 0


@pytest.mark.parametrize("layout", ["F", "reversed", "strided", "read-only", "float32"])
def test_input_of_any_layout_gives_the_same_bits(layout, cut):
    X = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    wide = np.zeros((80, 18))
    wide[::2, ::3] = X
    frozen = X.astype(float)
    frozen.flags.writeable = False
    other = {
        "F": np.asfortranarray(X),
        "reversed": X.astype(float)[::-1, ::-1].copy()[::-1, ::-1],
        "strided": wide[::2, ::3],
        "read-only": frozen,
        "float32": X,
    }[layout]
    y = random_targets("squared_error", 40, 2)
    network = random_network((6, 5, 2))
    results = []
    for data in (X.astype(float), other):
        job = training_job(
            (6, 5, 2), data, y, *network, dtype="float32", optimizer="sgd", batch_size=7
        )
        run_all(job, rate=0.1)
        results.append(job.network.arena.arrays["parameters"].tobytes())
    assert results[0] == results[1]


def test_kernels_allocate_nothing(cut):
    units = (20, 40, 3)
    X = np.random.default_rng(0).standard_normal((100, 20))
    y = random_targets("log_loss", 100, 3)
    compile_kernels(["float64"])
    job = training_job(
        units, X, y, *random_network(units), optimizer="adam", loss="log_loss",
        activation="tanh", batch_size=30,
    )  # fmt: skip
    prediction = PredictionJob(
        job.network, X, activation="tanh", output_activation="softmax"
    )
    _nrt_python.memsys_enable_stats()
    before = rtsys.get_allocation_stats()
    numba.njit(lambda n: np.ones(n).sum())(5)
    assert rtsys.get_allocation_stats().alloc > before.alloc  # it does count
    with Team(1) as team:
        before = rtsys.get_allocation_stats()
        job.run(team, 0, job.n_steps, rate=0.1, beta_1=0.9, beta_2=0.9, epsilon=1e-8)
        prediction.run(team)
        assert rtsys.get_allocation_stats() == before


def test_small_networks_go_in_strips_and_others_do_not():

    def strips(units, batch_size, dtype="float32"):
        return jobs.strips_of(Network(units, dtype, optimizer="sgd"), batch_size)

    assert strips((2, 8, 2), 32) == 1
    assert strips((20, 100, 2), 200) == 4
    assert strips((4, 32, 16, 4), 10_000) == 16
    assert strips((54, 256, 256, 7), 256) == 0  # more weights than activations
    assert strips((784, 1024, 10), 100_000) == 0  # gradients that leave the cache
    assert strips((64, 64, 64, 3), 64) == 0  # work for three threads, but one strip
    assert strips((16, *[64] * 6, 4), 128) == 0  # for sixteen, but two strips


@pytest.mark.compiler
def test_all_kernels_are_compiled_ahead(monkeypatch):
    """All ways of a step, plain or full, of the precision that is asked for."""
    seen = set()

    def note(address, precision, thread, first, last, *choices):
        seen.add((precision.dtype.name, *choices))

    monkeypatch.setattr(passes, "train_steps", note)
    for general in (False, True):
        seen.clear()
        compile_kernels(["float32"], general=general)
        compile_kernels(["float64"], sparse=True, general=general)
        full = True if general else None
        assert seen == {
            ("float32", True, None, None, full, None),
            ("float32", None, None, True, full, None),
            ("float64", True, True, None, full, None),
        }


def test_sums_over_a_huge_batch_stay_accurate():
    """In float32: terms are added up in blocks, not one behind the other."""
    units, n_samples = (3, 4, 1), 60_000
    rng = np.random.default_rng(0)
    X = rng.uniform(0.5, 1.5, (n_samples, 3)).astype(np.float32)
    y = np.full((n_samples, 1), 100.0)  # deltas of one sign: nothing cancels
    coefs, intercepts = random_network(units)
    settings = {"activation": "logistic", "loss": "squared_error"}
    job = training_job(units, X, y, coefs, intercepts, dtype="float32", **settings)
    assert job.strips
    run_all(job)
    result = job.network.read(np.float64, "gradient")
    expected = reference.gradient_of(X, y, coefs, intercepts, **settings)
    for arrays, references in zip(result, expected, strict=True):
        for array, exact in zip(arrays, references, strict=True):
            np.testing.assert_allclose(array, exact, rtol=3e-6)


def test_the_same_numbers_from_tiles_and_strips(monkeypatch):
    """A fit in float64 that took the other way would end at the same weights."""
    units = (11, 30, 5)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 11))
    y = random_targets("log_loss", 500, 5)
    networks = []
    for n_strips in (0, 1, 4):
        monkeypatch.setattr(jobs, "strips_of", lambda *_, n=n_strips: n)
        job = training_job(
            units, X, y, *random_network(units), optimizer="nesterov", l2=0.1,
            loss="log_loss", batch_size=170,
        )  # fmt: skip
        for _ in range(5):
            run_all(job, rate=0.1, beta_1=0.9)
        networks.append(job.network.arena.arrays["parameters"])
    for other in networks[1:]:
        np.testing.assert_allclose(other, networks[0], rtol=1e-10, atol=1e-13)


def test_jobs_check_shapes_before_a_kernel_sees_them():
    network = Network((3, 2), "float64")
    coefs, intercepts = random_network((3, 2))
    with pytest.raises(ValueError, match="3 features"):
        PredictionJob(
            network, np.zeros((5, 4)), activation="relu", output_activation="identity"
        )
    with pytest.raises(ValueError, match="cannot hold weights"):
        network.write([coefs[0][:2]], intercepts)
    job = training_job((3, 2), np.zeros((5, 3)), np.zeros((5, 2)), coefs, intercepts)
    with Team(2) as team, pytest.raises(ValueError, match="a team of 2 for a job made"):
        job.run(team, 0, 1)
    with pytest.raises(ValueError, match="has no optimizer"):
        TrainingJob(
            Network((3, 2), "float64"), np.zeros((5, 3)), np.zeros((5, 2)),
            batch_size=5, activation="relu", loss="squared_error",
        )  # fmt: skip
    for array in ("first_moment", "average", "transposed"):
        with pytest.raises(ValueError, match=f"has no {array}"):
            job.network.write(coefs, intercepts, array=array)
    with pytest.raises(ValueError, match=r"expected \(5, 1\)"):
        training_job(
            (3, 2), np.zeros((5, 3)), np.zeros((5, 2)), coefs, intercepts,
            loss="log_loss",
        )  # fmt: skip
    with pytest.raises(ValueError, match="targets have shape"):
        training_job((3, 2), np.zeros((5, 3)), np.zeros((4, 2)), coefs, intercepts)
    with pytest.raises(ValueError, match="sample_weight has shape"):
        training_job(
            (3, 2), np.zeros((5, 3)), np.zeros((5, 2)), coefs, intercepts,
            sample_weight=np.ones(4),
        )  # fmt: skip
