"""scikit-learn's own tests of its perceptrons, from the installed package, with our classes in place of theirs."""

import importlib.util

import pytest
import sklearn.neural_network

from fastact.sklearn import MLPClassifier, MLPRegressor

#: What cannot pass, and why.
EXCEPTIONS = {
    "test_gradient": "calls the private _loss_grad_lbfgs with lists of weights, activations and deltas of its own",
}


def module():
    """A copy of their module that has found our classes where it imports theirs."""
    found = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
    spec = importlib.util.spec_from_file_location("their_test_mlp", found.origin)
    theirs = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for ours in (MLPClassifier, MLPRegressor):
            patch.setattr(sklearn.neural_network, ours.__name__, ours)
        spec.loader.exec_module(theirs)
    assert theirs.MLPClassifier is MLPClassifier
    return theirs


@pytest.fixture
def global_random_seed():
    """Their fixture, of their conftest."""
    return 42


pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
TESTS = {name: test for name, test in vars(module()).items() if name.startswith("test_")}
globals().update({name: test for name, test in TESTS.items() if name not in EXCEPTIONS})


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_the_exceptions_are_needed(name):
    with pytest.raises(AttributeError):
        TESTS[name]()


def test_all_were_found():
    assert len(TESTS) > 30
