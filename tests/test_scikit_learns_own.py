"""scikit-learn's own tests of its multi-layer perceptron, run on ours.

The test module of the installed scikit-learn is loaded a second time, with
`MLPClassifier` and `MLPRegressor` exchanged while it is imported.
"""

import importlib.util
from unittest import mock

import pytest
import sklearn.neural_network

import fastmlp

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::fastmlp.exceptions.ScaleWarning"),
]

#: It calls a private method of scikit-learn's; tests/test_passes.py has our own.
LEFT_OUT = {"test_gradient"}


def _their_tests():
    spec = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
    if spec is None:
        pytest.skip("scikit-learn comes without tests", allow_module_level=True)
    spec = importlib.util.spec_from_file_location("their_test_mlp", spec.origin)
    module = importlib.util.module_from_spec(spec)
    names = ("MLPClassifier", "MLPRegressor")
    ours = {name: getattr(fastmlp, name) for name in names}
    with mock.patch.multiple(sklearn.neural_network, **ours):
        spec.loader.exec_module(module)
    assert module.MLPClassifier is fastmlp.MLPClassifier
    tests = {name: test for name, test in vars(module).items() if name[:5] == "test_"}
    assert set(tests) > LEFT_OUT
    return {name: test for name, test in tests.items() if name not in LEFT_OUT}


globals().update(_their_tests())


@pytest.fixture
def global_random_seed():
    """What scikit-learn's conftest.py gives by default."""
    return 42
