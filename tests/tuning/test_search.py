"""A search of known functions: what it finds, what it survives."""

import math

import pytest
from optuna.trial import TrialState
from tuning_stubs import BEST

SPACE = "tune.space={optimizer.learning_rate: {low: 1e-3, high: 1e-2, log: true, type: float}, network.hidden: {choices: [[4], [8], [16]]}}"


def states(study):
    return [trial.state.name for trial in study.get_trials(deepcopy=False)]


def test_the_best_of_a_known_function_is_found(tune, studies):
    code, out, _ = tune("parabola", "tune.n_trials=30")
    assert code == 0
    (study,) = studies()
    assert states(study) == ["COMPLETE"] * 30
    assert abs(math.log10(study.best_params["optimizer.learning_rate"] / BEST)) < 0.1
    assert out.count("tune: trial ") == 30
    assert "a training speaks" not in out
