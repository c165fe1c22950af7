"""Estimators for tables: what they learn, what they take, and what they refuse."""

import pickle
import threading
import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import norm
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.metrics import accuracy_score, log_loss, r2_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from fastmlp import TabularMLPClassifier, TabularMLPRegressor
from fastmlp.exceptions import UnusedParameterWarning
from fastmlp.tables.encodings import quantile_knots, smooth_clip
from fastmlp.tables.recipes import PRESETS
from fastmlp.tables.search_space import draw_recipe
from fastmlp.training.tabular import temperature_of

pd = pytest.importorskip("pandas")

BOTH = [TabularMLPClassifier, TabularMLPRegressor]
#: Quick to fit.
SMALL = {"n_members": 2, "max_iter": 8, "hidden_layer_sizes": (16,), "random_state": 0}


def mixed_table(n=300, seed=0):
    """(X, y): a table of all kinds of columns, and numbers that depend on them."""
    rng = np.random.default_rng(seed)
    city = rng.choice(["Bern", "Basel", "Chur"], n)
    size = rng.uniform(20, 200, n)
    garden = rng.random(n) < 0.5
    built = pd.Timestamp("1950-01-01") + pd.to_timedelta(
        rng.integers(0, 25_000, n), "D"
    )
    street = rng.choice([f"street {i}" for i in range(15)], n)
    y = size * np.where(city == "Bern", 2.0, 1.0) + 50 * garden
    X = pd.DataFrame({
        "city": city, "size": size, "garden": garden, "built": built, "street": street,
        "floor": pd.array(rng.integers(0, 5, n), dtype="Int64"),
    })  # fmt: skip
    for column in ("city", "size", "built", "floor"):
        X.loc[rng.random(n) < 0.1, column] = None
    return X, y


def classes_of(y):
    return np.where(y > np.median(y), "dear", "cheap")


@pytest.fixture(scope="module")
def table():
    return mixed_table()


@pytest.fixture(scope="module")
def fitted(table):
    """A classifier and a regressor of the same table."""
    X, y = table
    return (
        TabularMLPClassifier(**SMALL).fit(X, classes_of(y)),
        TabularMLPRegressor(**SMALL).fit(X, y),
    )


# --- what they learn ------------------------------------------------------------------


def test_a_table_with_missing_values_is_learnt(table):
    X, y = table
    X_new, y_new = mixed_table(seed=1)
    regressor = TabularMLPRegressor("fast", random_state=0).fit(X, y)
    assert regressor.score(X_new, y_new) > 0.7
    classifier = TabularMLPClassifier("fast", random_state=0).fit(X, classes_of(y))
    assert classifier.score(X_new, classes_of(y_new)) > 0.8
    assert classifier.predict_proba(X_new).shape == (300, 2)
    np.testing.assert_allclose(classifier.predict_proba(X_new).sum(axis=1), 1)


def test_classes_that_two_categories_decide_together():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({name: rng.choice(["yes", "no"], 400) for name in "ab"})
    y = X["a"] == X["b"]
    model = TabularMLPClassifier("fast", random_state=0).fit(X[:200], y[:200])
    assert model.score(X[200:], y[200:]) == 1.0


def test_a_wave_is_learnt_thanks_to_the_embedding():
    x = np.random.default_rng(0).uniform(-1, 1, (1000, 1))
    y = np.sin(12 * x[:, 0])
    scores = [
        TabularMLPRegressor("fast", numeric_embedding=embedding, random_state=0)
        .fit(x[:800], y[:800]).score(x[800:], y[800:])
        for embedding in ("cosines", "piecewise", None)
    ]  # fmt: skip
    assert min(scores) > 0.98
    assert scores[0] > scores[2]


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_no_worse_than_plain_baselines(preset):
    X, y = load_wine(return_X_y=True)
    model = TabularMLPClassifier(preset, random_state=0, n_members=1)
    assert cross_val_score(model, X, y, cv=3).mean() > 0.94


def test_probabilities_are_calibrated_by_held_out_samples():
    X, y = load_breast_cancer(return_X_y=True)
    X, X_new, y, y_new = train_test_split(X, y, random_state=0)
    model = TabularMLPClassifier("fast", label_smoothing=0.4, random_state=0).fit(X, y)
    assert model.temperature_ < 0.9  # label smoothing makes outputs too modest
    calibrated = log_loss(y_new, model.predict_proba(X_new))
    model.temperature_ = 1.0
    without = log_loss(y_new, clone_of_state(model).predict_proba(X_new))
    assert calibrated < without


def clone_of_state(model):
    return pickle.loads(pickle.dumps(model))


def test_temperature_of_known_outputs():
    """Of outputs that are exact but for a factor, the temperature is that factor."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((20_000, 3))
    shares = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    codes = (rng.random((20_000, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    assert temperature_of(3 * z, codes) == pytest.approx(3, rel=0.05)
    # certainty is never right, however few samples there are
    assert temperature_of(np.array([[1.0, -1.0]] * 5), np.zeros(5, int)) > 0.3


def test_weights_of_samples_and_classes_count():
    settings = {**SMALL, "max_iter": 40}
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 2))
    y = rng.random(200) < 0.5  # nothing to learn but the shares
    plain = TabularMLPClassifier(**settings).fit(X, y).predict_proba(X)[:, 1].mean()
    weights = np.where(y, 20.0, 1.0)
    heavy = TabularMLPClassifier(**settings).fit(X, y, weights)
    assert heavy.predict_proba(X)[:, 1].mean() > plain + 0.1
    dear = TabularMLPClassifier(class_weight={True: 20.0}, **settings).fit(X, y)
    assert dear.predict_proba(X)[:, 1].mean() > plain + 0.1
    numbers = TabularMLPRegressor(**settings)
    assert numbers.fit(X, y, weights).predict(X).mean() > y.mean() + 0.1


@pytest.mark.parametrize("scoring", ["roc_auc", "neg_log_loss", "accuracy"])
def test_the_best_epoch_is_chosen_by_a_scorer(scoring, table):
    X, y = table
    model = TabularMLPClassifier(scoring=scoring, **SMALL).fit(X, classes_of(y))
    assert -1.5 < model.validation_score_ <= 1.0

    def lowest(estimator, X, y):
        return -abs(estimator.predict_proba(X)[:, 1].mean() - 0.5)

    own = TabularMLPClassifier(scoring=lowest, **SMALL).fit(X, classes_of(y))
    assert own.validation_score_ <= 0
    chosen = TabularMLPRegressor(scoring="r2", **SMALL).fit(X, y)
    assert chosen.validation_score_ <= 1


def test_a_validation_set_replaces_what_is_held_out(table):
    X, y = table
    X_val, y_val = mixed_table(100, seed=2)
    model = TabularMLPRegressor(**SMALL).fit(X, y, X_val=X_val, y_val=y_val)
    assert np.isfinite(model.validation_score_)
    with pytest.raises(ValueError, match="X_val and y_val must be given together"):
        model.fit(X, y, X_val=X_val)
    with pytest.raises(ValueError, match="y_val has classes that y lacks"):
        TabularMLPClassifier(**SMALL).fit(
            X, classes_of(y), X_val=X, y_val=["free"] * len(X)
        )


# --- out of fold ----------------------------------------------------------------------


def test_out_of_fold_predictions_are_of_networks_that_were_not_trained_there(
    table, monkeypatch
):
    from fastmlp.training.tabular import TabularFit

    X, y = table
    fits = []
    run = TabularFit.run
    monkeypatch.setattr(TabularFit, "run", lambda fit: fits.append(fit) or run(fit))
    weights = np.random.default_rng(0).uniform(0.5, 2, 300)
    settings = {**SMALL, "n_members": 9}  # 8 folds, and one again
    for model, target in (
        (TabularMLPClassifier(**settings), classes_of(y)),
        (TabularMLPRegressor(**settings), y),
    ):
        model.fit(X, target, weights)
        held_out = fits[-1].held_out
        total, count = 0, np.zeros(300)
        for member, rows in zip(model.members_, held_out, strict=True):
            one = clone_of_state(model)
            one.members_ = [member]
            has = np.isin(np.arange(300), rows)
            predictions = getattr(one, "predict_proba", one.predict)(X)
            total += np.where(has, predictions.T, 0)
            count += has
        assert set(count) == {1, 2}
        expected = (total / count).T
        if hasattr(model, "classes_"):
            shown = model.oof_decision_function_
            score = accuracy_score(
                target, model.classes_[shown.argmax(axis=1)], sample_weight=weights
            )
        else:
            shown = model.oof_prediction_
            score = r2_score(target, shown, sample_weight=weights)
            # the range of the targets bounds means, not what they are of
            expected = np.where(count == 1, expected, shown)
        np.testing.assert_allclose(shown, expected, rtol=1e-5, atol=1e-6)
        assert model.oof_score_ == pytest.approx(score)


def test_rows_that_nobody_held_out_are_nan(table):
    X, y = table
    model = TabularMLPRegressor(**SMALL).fit(X, y)  # 2 of 8 parts
    assert 0.7 < np.isnan(model.oof_prediction_).mean() < 0.8
    known = ~np.isnan(model.oof_prediction_)
    expected = r2_score(y[known], model.oof_prediction_[known])
    assert model.oof_score_ == pytest.approx(expected)
    model.fit(X, y, X_val=X[:50], y_val=y[:50])
    assert not hasattr(model, "oof_prediction_")
    assert not hasattr(model, "oof_score_")


def test_out_of_fold_predictions_of_several_targets_labels_and_quantiles(table):
    X, y = table
    settings = {**SMALL, "n_members": 8}
    two = TabularMLPRegressor(**settings).fit(X, np.column_stack([y, -3 * y]))
    assert two.oof_prediction_.shape == (300, 2)
    labels = np.column_stack([y > 100, y > 200, y > 300]).astype(int)
    model = TabularMLPClassifier(**settings).fit(X, labels)
    assert model.oof_decision_function_.shape == (300, 3)
    quantiles = TabularMLPRegressor(
        loss="quantile", quantile=[0.1, 0.9], **settings
    ).fit(X, y)
    assert quantiles.oof_prediction_.shape == (300, 2)
    assert quantiles.oof_score_ < 1


# --- targets --------------------------------------------------------------------------


def test_targets_of_any_scale_are_predicted_alike():
    X, y = load_diabetes(return_X_y=True)
    plain = TabularMLPRegressor(**SMALL).fit(X, y).predict(X)
    for scale, shift in ((1e-9, 0.0), (1e12, 1e13)):
        scaled = TabularMLPRegressor(**SMALL).fit(X, y * scale + shift).predict(X)
        np.testing.assert_allclose((scaled - shift) / scale, plain, rtol=1e-3)


def test_predictions_stay_in_the_range_of_the_targets():
    X = np.linspace(-1, 1, 200)[:, None]
    model = TabularMLPRegressor("fast", random_state=0).fit(X, X[:, 0])
    far = model.predict(np.array([[-1e9], [1e9]]))
    assert far.min() >= -1
    assert far.max() <= 1


def test_several_targets_labels_and_quantiles(table):
    X, y = table
    two = np.column_stack([y, -3 * y])
    model = TabularMLPRegressor(**SMALL).fit(X, two)
    assert model.predict(X).shape == two.shape
    labels = np.column_stack([y > 100, y > 200, y > 300]).astype(int)
    model = TabularMLPClassifier(**SMALL).fit(X, labels)
    assert model.predict(X).shape == labels.shape
    assert set(np.unique(model.predict(X))) <= {0, 1}
    assert ((model.predict_proba(X) >= 0) & (model.predict_proba(X) <= 1)).all()
    quantiles = TabularMLPRegressor(
        "fast", loss="quantile", quantile=[0.1, 0.9], random_state=0
    )
    low, high = quantiles.fit(X, y).predict(X).T
    assert (low < high).mean() > 0.95
    assert 0.6 < ((low <= y) & (y <= high)).mean() < 0.98


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "poisson", "gamma"])
def test_losses_of_numbers(loss, table):
    X, y = table
    model = TabularMLPRegressor("fast", loss=loss, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.5
    assert model.predict(X).min() >= y.min()


def test_labels_of_any_type(table):
    X, y = table
    for labels in (
        classes_of(y), y > 100, pd.Series(classes_of(y), dtype="category"),
        np.digitize(y, [100, 200]), classes_of(y).astype(object),
    ):  # fmt: skip
        model = TabularMLPClassifier(**SMALL).fit(X, labels)
        assert set(model.predict(X)) <= set(np.unique(labels))
        np.testing.assert_array_equal(model.classes_, np.unique(labels))


def test_labels_that_are_missing_or_of_several_types(table):
    X, y = table
    for missing in (None, np.nan, pd.NA):
        labels = classes_of(y).astype(object)
        labels[3] = missing
        with pytest.raises(ValueError, match=r"y has missing values|contains NaN"):
            TabularMLPClassifier(**SMALL).fit(X, labels)
    labels[3] = 1.5
    with pytest.raises(ValueError, match="labels of several types"):
        TabularMLPClassifier(**SMALL).fit(X, labels)
    y = y.copy()
    y[3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        TabularMLPRegressor(**SMALL).fit(X, y)


def test_one_class_and_a_constant_target():
    X = np.arange(20.0)[:, None]
    model = TabularMLPClassifier(**SMALL).fit(X, ["a"] * 20)
    assert model.predict(X).tolist() == ["a"] * 20
    assert model.predict_proba(X).tolist() == [[1.0]] * 20
    model = TabularMLPRegressor(**SMALL).fit(X, np.full(20, 7.0))
    np.testing.assert_allclose(model.predict(X), 7)


@pytest.mark.parametrize("n", [2, 3, 7, 19, 25])
def test_few_rows(n):
    X = np.random.default_rng(0).standard_normal((n, 3))
    y = np.arange(n) % 2
    assert TabularMLPClassifier(**SMALL).fit(X, y).predict_proba(X).shape == (n, 2)
    assert np.isfinite(TabularMLPRegressor(**SMALL).fit(X, X[:, 0]).predict(X)).all()


def test_weights_that_are_zero_where_it_is_validated():
    X = np.random.default_rng(0).standard_normal((80, 3))
    weights = np.zeros(80)
    weights[:3] = 1
    model = TabularMLPRegressor(**SMALL).fit(X, X[:, 0], weights)
    assert np.isfinite(model.predict(X)).all()
    with pytest.raises(ValueError, match="all weights are 0"):
        TabularMLPClassifier(class_weight={0: 0, 1: 0}, **SMALL).fit(X, X[:, 0] > 0)


def test_a_class_of_one_sample():
    X = np.random.default_rng(0).standard_normal((60, 3))
    y = np.array(["rare", *["a", "b"] * 29, "a"])
    model = TabularMLPClassifier(**{**SMALL, "n_members": 5}).fit(X, y)
    assert model.predict_proba(X).shape == (60, 3)


# --- inputs ---------------------------------------------------------------------------


def test_what_was_done_with_each_column_is_told(fitted, table):
    X, _ = table
    for model in fitted:
        kinds = {column.name: column.kind for column in model.columns_}
        assert kinds == {
            "city": "category", "size": "number", "garden": "flag", "built": "date",
            "street": "category", "floor": "number",
        }  # fmt: skip
        summary = model.summary()
        assert all(name in summary for name in X.columns)
        assert model.n_features_in_ == 6
        assert model.feature_names_in_.tolist() == X.columns.tolist()


def test_containers_give_the_same_predictions(fitted, table):
    polars = pytest.importorskip("polars")
    X, _ = table
    for model in fitted:
        expected = model.predict(X)
        columns = {
            name: [None if pd.isna(cell) else cell for cell in X[name].tolist()]
            for name in X
        }
        columns["built"] = [
            None if cell is None else cell.to_pydatetime() for cell in columns["built"]
        ]
        np.testing.assert_array_equal(
            model.predict(polars.DataFrame(columns)), expected
        )
        shuffled = X[X.columns[::-1]]
        np.testing.assert_array_equal(model.predict(shuffled), expected)


def test_unknown_categories_and_missing_values_are_predicted(fitted, table):
    X, _ = table
    new = X.copy()
    new["city"] = "Zug"
    new["size"] = None
    for model in fitted:
        assert len(model.predict(new)) == len(new)


def test_numbers_that_stand_for_categories():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 12, 600).astype(float)
    y = rng.standard_normal(12)[codes.astype(int)]
    X = np.column_stack([codes, rng.standard_normal(600)])
    model = TabularMLPRegressor("fast", categorical_features=[0], random_state=0)
    assert model.fit(X[:400], y[:400]).score(X[400:], y[400:]) > 0.95
    assert [column.kind for column in model.columns_] == ["category", "number"]


def test_sparse_numbers():
    X = np.random.default_rng(0).poisson(0.3, (100, 5)).astype(float)
    model = TabularMLPRegressor(**SMALL).fit(csr_array(X), X[:, 0])
    np.testing.assert_array_equal(model.predict(csr_array(X)), model.predict(X))


@pytest.mark.parametrize("cls", BOTH)
def test_columns_that_cannot_be_are_named(cls, table):
    X, y = table
    y = classes_of(y) if cls is TabularMLPClassifier else y
    infinite = X.assign(size=X["size"].astype(float))
    infinite.loc[3, "size"] = np.inf
    with pytest.raises(ValueError, match="size"):
        cls(**SMALL).fit(infinite, y)
    model = cls(**SMALL).fit(X, y)
    with pytest.raises(ValueError, match="size"):
        model.predict(infinite)
    with pytest.raises(ValueError, match="garden"):
        model.predict(X.drop(columns="garden"))
    with pytest.raises(ValueError, match="city"):
        cls(**SMALL).fit(X.assign(city=[{"a": 1}] * len(X)), y)
    with pytest.raises(ValueError, match="No column"):
        cls(**SMALL).fit(X[[]].assign(one=1), y)


# --- estimators -----------------------------------------------------------------------


def test_the_same_bits_for_any_number_of_threads(table):
    X, y = table
    settings = {**SMALL, "n_members": 3, "hidden_layer_sizes": (64, 64)}
    expected = TabularMLPRegressor(n_jobs=1, **settings).fit(X, y).predict(X)
    for n_jobs in (2, 4, None):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of more threads than cores
            model = TabularMLPRegressor(n_jobs=n_jobs, **settings).fit(X, y)
        np.testing.assert_array_equal(model.predict(X), expected)
    other = TabularMLPRegressor(**{**settings, "random_state": 1}).fit(X, y)
    assert not np.array_equal(other.predict(X), expected)


def test_copies_predict_the_same(fitted, table):
    X, _ = table
    for model in fitted:
        expected = model.predict(X)
        np.testing.assert_array_equal(clone_of_state(model).predict(X), expected)
        again = clone(model)
        assert not hasattr(again, "members_")
        assert again.get_params() == model.get_params()


def test_a_row_is_predicted_as_among_others(fitted, table):
    X, _ = table
    for model in fitted:
        method = getattr(model, "predict_proba", model.predict)
        some = method(X[:70])
        for i in (0, 3, 69):
            np.testing.assert_array_equal(method(X.iloc[[i]])[0], some[i])


def test_predictor(fitted, table):
    X, _ = table
    for model in fitted:
        expected = getattr(model, "predict_proba", model.predict)(X[:20])
        predictor = model.predictor()
        np.testing.assert_array_equal(predictor(X[:20]), expected)
        for i in range(20):
            row = X.iloc[i].tolist()
            np.testing.assert_array_equal(predictor(row), expected[i])
            np.testing.assert_array_equal(predictor(tuple(row)), expected[i])
        with pytest.raises(ValueError, match="the row has 2 cells"):
            predictor([1.0, 2.0])
    numbers = np.random.default_rng(0).standard_normal((50, 3))
    model = TabularMLPRegressor(**SMALL).fit(numbers, numbers[:, 0])
    predictor, expected = model.predictor(), model.predict(numbers)
    assert predictor(numbers[3]) == expected[3]
    assert predictor(numbers[3].tolist()) == expected[3]
    model.fit(numbers, -numbers[:, 0])
    np.testing.assert_array_equal(predictor(numbers), expected)
    many = np.random.default_rng(1).standard_normal((300, 3))
    together = model.predict(many)
    for n in (1, 2, 7, 64, 65, 300):  # in memory of the predictor, and anew
        np.testing.assert_array_equal(model.predict(many[:n]), together[:n])
    model.set_params(n_jobs=2)
    np.testing.assert_array_equal(model.predict(many), together)


def test_threads_predict_at_once(fitted, table):
    X, _ = table
    for model in fitted:
        expected = model.predict(X)
        results = {}

        def predict(i, model=model, results=results):
            results[i] = [model.predict(X[:50]) for _ in range(5)]

        threads = [threading.Thread(target=predict, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 4
        for several in results.values():
            for result in several:
                np.testing.assert_array_equal(result, expected[:50])


def test_a_fit_that_fails_leaves_the_model_as_it_was(fitted, table):
    X, y = table
    for model, target in zip(fitted, (classes_of(y), y), strict=True):
        model = clone_of_state(model)
        expected = model.predict(X)
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            model.fit(X, target[:-1])
        with pytest.raises(ValueError, match="size"):
            model.fit(X.assign(size=np.inf), target)
        np.testing.assert_array_equal(model.predict(X), expected)


def test_a_second_fit_forgets_the_first(table):
    X, y = table
    model = TabularMLPClassifier(**SMALL).fit(X, classes_of(y))
    model.fit(X[["size", "garden"]].to_numpy(dtype=float), y > 100)
    assert model.n_features_in_ == 2
    assert not hasattr(model, "feature_names_in_")
    assert model.classes_.tolist() == [False, True]


def test_pipelines_and_searches(table):
    X, y = table
    search = GridSearchCV(
        make_pipeline(FunctionTransformer(), TabularMLPRegressor(**SMALL)),
        {"tabularmlpregressor__n_members": [1, 2]}, cv=2,
    )  # fmt: skip
    search.fit(X, y)
    assert search.best_params_["tabularmlpregressor__n_members"] in (1, 2)
    assert search.predict(X).shape == y.shape


def test_wrong_parameters_are_refused(table):
    X, y = table
    for settings, problem in (
        ({"preset": "slow"}, "preset"),
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes must be > 0"),
        ({"n_members": 0}, "n_members"),
        ({"loss": "log_loss"}, "loss"),
        ({"time_limit": -1}, "time_limit"),
        ({"loss": "gamma"}, "y must be positive"),
    ):
        with pytest.raises(ValueError, match=problem):
            TabularMLPRegressor(**settings).fit(X, -y)
    with pytest.raises(ValueError, match="at least one non-zero"):
        TabularMLPRegressor(**SMALL).fit(X, y, np.zeros(len(y)))


def test_parameters_without_effect_are_told(table):
    X, y = table
    for settings in ({"quantile": 0.9}, {"quantile": [0.1, 0.9]}, {"huber_delta": 2}):
        with pytest.warns(UnusedParameterWarning, match="has no effect without loss"):
            TabularMLPRegressor(**settings, **SMALL).fit(X, y)
    with pytest.warns(UnusedParameterWarning, match="focal_gamma"):
        TabularMLPClassifier(focal_gamma=3, **SMALL).fit(X, classes_of(y))


def test_time_limit_leaves_out_epochs_then_networks(table):
    X, y = table
    free = TabularMLPRegressor(n_members=4, max_iter=2000, random_state=0, time_limit=1)
    free.fit(X, y)
    assert free.n_iter_ < 2000
    short = TabularMLPRegressor(
        n_members=8, hidden_layer_sizes=(512, 512), random_state=0, time_limit=0.5
    ).fit(X, y)
    assert len(short.members_) < 8
    assert np.isfinite(short.predict(X)).all()


def test_a_time_limit_is_planned_for_few_epochs(monkeypatch):
    """A trial that ends after those few would find that an epoch takes no time."""
    from fastmlp.training.tabular import TabularFit

    plan, planned = TabularFit._plan_time, []

    def watched(self):
        yield from plan(self)
        planned.append((self.n_members, self.recipe.n_epochs))

    monkeypatch.setattr(TabularFit, "_plan_time", watched)
    X = np.random.default_rng(0).standard_normal((20_000, 4), np.float32)
    model = TabularMLPRegressor(
        n_members=4, hidden_layer_sizes=(512, 512), max_iter=1, time_limit=0.3, n_jobs=1
    ).fit(X, X.sum(axis=1))
    assert planned == [(1, 1)]
    assert len(model.members_) == 1


def test_networks_that_have_hardly_begun_are_left_out(table, monkeypatch):
    from fastmlp.training.member import Run

    X, y = table
    begin, begun = Run.begin, []

    def interrupt(self):
        begun.append(self)
        if len(begun) == 3:
            raise KeyboardInterrupt
        begin(self)

    monkeypatch.setattr(Run, "begin", interrupt)
    model = TabularMLPRegressor(**SMALL | {"n_members": 4}, n_jobs=1)
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(X, y)
    assert [len(curve) for curve in model.loss_curves_] == [8, 8]
    assert np.isfinite(model.validation_score_)


@pytest.mark.parametrize("tune", [False, True])
def test_interrupt_keeps_the_best_so_far(tune, table, monkeypatch):
    from fastmlp.training.member import HeldOut

    X, y = table
    evaluate, calls = HeldOut.evaluate, []

    def interrupt(self, team, is_first=False):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return evaluate(self, team, is_first)

    monkeypatch.setattr(HeldOut, "evaluate", interrupt)
    model = TabularMLPRegressor(**{**SMALL, "max_iter": 50}, n_jobs=1, tune=tune)
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(X, y)
    assert len(model.members_) == 1
    assert np.isfinite(model.predict(X)).all()


def test_a_progress_line_is_shown(table, capsys):
    pytest.importorskip("tqdm")
    X, y = table
    for verbose in ("progress", True):
        TabularMLPRegressor(**SMALL, verbose=verbose).fit(X, y)
        assert "16/16" in capsys.readouterr().err
    TabularMLPRegressor(**TUNED, verbose=True).fit(X, y)
    assert "14/14" in capsys.readouterr().err  # of four configurations


# --- tuning -----------------------------------------------------------------------

TUNED = SMALL | {"n_members": 3, "hidden_layer_sizes": (8,), "tune": 4}


def test_classes_are_tuned_by_the_brier_score(table, monkeypatch):
    X, y = table
    y, seen = classes_of(y), []

    def watched(predictions, loss, **how):
        rows = np.arange(len(predictions[0]))
        seen.extend((predictions[0], loss(predictions[0], rows)))
        return np.full(len(predictions), 1 / len(predictions))

    monkeypatch.setattr("fastmlp.training.tuning.greedy_weights", watched)
    model = TabularMLPClassifier(**TUNED).fit(X, y)
    known = ~np.isnan(model.oof_decision_function_).any(axis=1)
    truth = y[known, np.newaxis] == model.classes_
    assert seen[1] == pytest.approx(((seen[0] - truth) ** 2).sum(axis=1).mean())
    assert len(set(model.weights_)) == 1


@pytest.mark.parametrize("cls", BOTH)
def test_tuning_weighs_what_it_has_tried(cls, table):
    X, y = table
    y = classes_of(y) if cls is TabularMLPClassifier else y
    model = cls(**TUNED).fit(X, y)
    board = pd.DataFrame(model.leaderboard_)
    assert len(board) == 5
    assert sorted(board["n_members"]) == [2, 2, 3, 3, 3]
    assert sorted(board["n_epochs"]) == [4, 4, 8, 8, 8]
    assert set(board["widths"]) == {(8,)}  # as it was given
    assert board["decay"].nunique() == 5
    assert (board["weight"] > 0).sum() == len(model.estimators_)
    np.testing.assert_allclose(model.weights_.sum(), 1)
    assert len(model.members_) == 3 * len(model.estimators_)

    method = "predict_proba" if cls is TabularMLPClassifier else "predict"
    single = [getattr(each, method)(X) for each in model.estimators_]
    mean = sum(w * p for w, p in zip(model.weights_, single, strict=True))
    found = getattr(model, method)(X)
    if cls is TabularMLPRegressor:  # clipped to the range of y, one by one or together
        assert np.median(abs(found - mean)) < 1e-9
    else:
        np.testing.assert_allclose(found, mean, rtol=1e-12)
    np.testing.assert_array_equal(model.predictor()(X.iloc[:3]), found[:3])
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(getattr(again, method)(X), found)


@pytest.mark.parametrize("settings", [SMALL, TUNED])
@pytest.mark.parametrize("cls", BOTH)
def test_the_spread_between_networks(settings, cls, table):
    X, y = table
    y = classes_of(y) if cls is TabularMLPClassifier else y
    model = cls(**settings | {"n_members": 3}).fit(X, y)
    method = "predict_proba" if cls is TabularMLPClassifier else "predict"
    mean, std = getattr(model, method)(X, return_std=True)
    np.testing.assert_array_equal(mean, getattr(model, method)(X))
    parts = [(1.0, model)]
    if "tune" in settings:
        parts = zip(model.weights_, model.estimators_, strict=True)
    weights, single = [], []
    for weight, part in parts:
        for network in part.members_:
            alone = pickle.loads(pickle.dumps(part))
            alone.members_ = [network]
            weights.append(weight)
            single.append(getattr(alone, method)(X))
    center = np.average(single, axis=0, weights=weights)
    expected = np.sqrt(np.average((single - center) ** 2, axis=0, weights=weights))
    np.testing.assert_allclose(std, expected, rtol=1e-6, atol=1e-9 * abs(mean).max())
    assert std.max() > 0


def test_one_class_has_no_spread(table):
    X, _ = table
    model = TabularMLPClassifier(**SMALL).fit(X, ["dear"] * len(X))
    _, std = model.predict_proba(X, return_std=True)
    assert std.shape == (len(X), 1)
    assert (std == 0).all()


def test_numbers_are_scaled_by_ranks():
    """What grows with a number may grow in any way: ranks are the same."""
    rng = np.random.default_rng(0)
    X = rng.choice(rng.standard_normal(60), (500, 3)).astype(np.float32)
    X[::9, 2] = np.nan
    y = X[:, 0] - X[:, 1]
    settings = SMALL | {"numeric_scaling": "quantile", "max_iter": 40}
    found = [
        TabularMLPRegressor(**settings).fit(form, y).predict(form)
        for form in (X, np.exp(X), 1e3 * X**3)
    ]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-3)
    assert r2_score(y, found[2]) > 0.9


def test_knots_are_at_numbers_of_the_column():
    x = np.array([3.0, np.nan, 1.0, 1.0, 1.0, 2.0], np.float32)
    numbers, z = quantile_knots(x).T
    assert numbers.tolist() == [1, 2, 3]
    # the middle ranks of five, by the normal distribution in units of its quartiles
    exact = norm.ppf([0.3, 0.7, 0.9]) / (2 * norm.ppf(0.75))
    np.testing.assert_allclose(z, smooth_clip(exact))
    many = quantile_knots(np.random.default_rng(0).standard_cauchy(5000))
    assert len(many) <= 64
    assert (np.diff(many, axis=0) > 0).all()
    huge = quantile_knots(np.array([-np.inf, 0, 3e38, np.inf], np.float32))
    assert np.isfinite(huge.astype(np.float32)).all()
    for x in ([], [np.nan], [7.0, 7.0], [-3e37]):
        (low, z_low), (high, z_high) = quantile_knots(np.array(x, np.float32))
        assert np.float32(low) < np.float32(high)
        assert z_low == z_high == 0


def test_tuning_gives_the_same_bits_for_any_number_of_threads(table):
    X, y = table
    found = [TabularMLPRegressor(**TUNED, n_jobs=n).fit(X, y) for n in (1, 2, 3)]
    for other in found[1:]:
        np.testing.assert_array_equal(other.weights_, found[0].weights_)
        np.testing.assert_array_equal(other.predict(X), found[0].predict(X))


def test_a_configuration_is_that_of_its_own_fit(table):
    """The first candidate is what the preset trains without tuning."""
    X, y = table
    model = TabularMLPRegressor(**TUNED).fit(X, y)
    plain = TabularMLPRegressor(**TUNED | {"tune": False}).fit(X, y)
    assert not hasattr(plain, "leaderboard_")
    scores = model.leaderboard_["score"]
    assert any(np.isclose(plain.validation_score_, score, rtol=0) for score in scores)
    plain.set_params(tune=2).fit(X, y).set_params(tune=False).fit(X, y)
    assert not hasattr(plain, "leaderboard_")  # of another fit


def test_tuning_ends_in_time_or_when_told_to(table, monkeypatch):
    X, y = table
    settings = TUNED | {"tune": 10**6, "max_iter": 2}
    model = TabularMLPRegressor(**settings, time_limit=1.0).fit(X, y)
    assert 1 <= len(model.leaderboard_["score"]) < 10**5
    assert np.isfinite(model.predict(X)).all()

    from fastmlp.training import tuning

    train, calls = tuning.Tuning._train, []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(self, *arguments)

    monkeypatch.setattr(tuning.Tuning, "_train", interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        model = TabularMLPRegressor(**settings).fit(X, y)
    assert len(model.leaderboard_["score"]) == 13
    assert np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize("scoring", [None, "roc_auc"])
def test_a_configuration_that_was_cut_does_not_count(scoring, table, monkeypatch):
    from fastmlp.training.member import Run

    X, y = table
    begin, begun = Run.begin, []

    def interrupt(self):
        begun.append(self)
        if len(begun) == 3 + 4 * 2 + 1:  # the first of those that go on
            raise KeyboardInterrupt
        begin(self)

    monkeypatch.setattr(Run, "begin", interrupt)
    model = TabularMLPClassifier(**TUNED, scoring=scoring, n_jobs=1)
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(X, classes_of(y))
    assert sorted(model.leaderboard_["n_members"]) == [2, 2, 2, 2, 3]
    assert np.isfinite(model.leaderboard_["score"]).all()
    assert np.isfinite(model.validation_score_)


def test_an_interrupted_selection_weighs_all_alike(table, monkeypatch):
    from fastmlp.training import tuning

    X, y = table
    greedy, deadlines = tuning.greedy_weights, []

    def interrupt(*arguments, deadline):
        deadlines.append(deadline)
        if len(deadlines) == 1:
            raise KeyboardInterrupt
        return greedy(*arguments, deadline=deadline)

    monkeypatch.setattr(tuning, "greedy_weights", interrupt)
    with pytest.warns(UserWarning, match="interrupted"):
        model = TabularMLPRegressor(**TUNED).fit(X, y)
    assert model.weights_.tolist() == [1 / 3] * 3


def test_a_scorer_may_refuse_samples_that_lack_a_class():
    """Of those drawn to choose an ensemble by, a rare class may be missing."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 3))
    y = np.repeat([0, 1, 2], [200, 192, 8])
    model = TabularMLPClassifier(
        **SMALL | {"tune": 3, "n_members": 8, "max_iter": 2}, scoring="neg_log_loss"
    ).fit(X, y)
    assert np.isfinite(model.validation_score_)


def test_a_batch_is_as_large_as_there_is_time_for(monkeypatch):
    from fastmlp.training import tuning

    limit, sizes, train = 1000.0, [], tuning.Tuning._train

    def seconds_per_cost(self):
        """Twelve networks take some more than the limit."""
        return limit / (12 * tuning._CAUTION_FOR_BATCH * tuning._cost(self.base))

    def watched(self, candidates, positions, *epochs):
        sizes.append((len(candidates), len(positions)))
        return train(self, candidates, positions, *epochs)

    monkeypatch.setattr(tuning.Tuning, "_seconds_per_cost", seconds_per_cost)
    monkeypatch.setattr(tuning.Tuning, "_train", watched)
    X = np.random.default_rng(0).standard_normal((100, 2))
    settings = TUNED | {"tune": 9, "time_limit": limit, "n_jobs": 1}
    TabularMLPRegressor(**settings, numeric_embedding=None).fit(X, X[:, 0])
    # two networks each for half of the epochs, those of a half of them to the end, and
    # the third of a third: 6 + 3 + 2 networks, and not 7 + 4 + 3
    assert sizes == [(6, 2), (3, 2), (2, 1), (3, 2), (2, 2), (1, 1)]


def test_a_configuration_that_was_paused_is_that_of_its_own_fit(table, monkeypatch):
    from fastmlp.training import tuning

    X, y = table
    found = []
    for share in (0.1, 0.5, 1.0):
        monkeypatch.setattr(tuning, "_FIRST_SHARE", share)
        found.append(TabularMLPRegressor(**TUNED | {"tune": 1}).fit(X, y))
        board = found[-1].leaderboard_
        assert board["n_epochs"] == [8, 8]
    assert found[0].weights_.min() > 0
    for other in found[1:]:
        assert other.leaderboard_["score"] == found[0].leaderboard_["score"]
        np.testing.assert_array_equal(other.predict(X), found[0].predict(X))


def test_no_time_to_tune_is_told(table):
    X, y = table
    with pytest.warns(UserWarning, match="no other configuration could be trained"):
        model = TabularMLPRegressor(**TUNED, time_limit=1e-3).fit(X, y)
    assert model.leaderboard_["weight"] == [1.0]


def test_tuning_goes_by_a_validation_set_and_a_scorer(table):
    X, y = table
    labels = classes_of(y)
    model = TabularMLPClassifier(**TUNED, scoring="roc_auc")
    model.fit(X[:200], labels[:200], X_val=X[200:], y_val=labels[200:])
    auc = roc_auc_score(labels[200:] == "dear", model.predict_proba(X[200:])[:, 1])
    np.testing.assert_allclose(model.validation_score_, auc)


def test_recipes_are_drawn_around_the_preset():
    rng = np.random.default_rng(0)
    recipe = PRESETS["default"].numbers
    drawn = [draw_recipe(recipe, rng, {"dropout"}, classifies=False) for _ in range(50)]
    assert {each.dropout for each in drawn} == {recipe.dropout}
    assert {each.smoothing for each in drawn} == {recipe.smoothing}
    assert {each.n_epochs for each in drawn} == {recipe.n_epochs}
    assert len({each.rate for each in drawn}) == 50
    assert all(recipe.rate / 3 <= each.rate <= recipe.rate * 3 for each in drawn)
