"""Every axis of every figure says what it shows: those that only long tests would draw. The fixture `labelled_axes` looks at all others."""

from collections.abc import Callable

import numpy as np
import pytest
from ase.build import molecule
from labelled import unlabelled
from matplotlib.figure import Figure
from md.md_systems import sampled
from optuna.trial import create_trial

from nnpx.comparison import figure as comparison
from nnpx.comparison.rows import Row
from nnpx.figures import svg
from nnpx.learning import figures as learning
from nnpx.md import figures as md
from nnpx.md import replica_figures as replicas
from nnpx.md.observables import distributions
from nnpx.md.replica_course import ReplicaCourse
from nnpx.tuning import figures as tuning
from nnpx.tuning.space import Interval

SPACE = {"optimizer.learning_rate": Interval(low=1e-4, high=1e-2, type="float", log=True)}
OBJECTIVES = {"valid/forces_mae": "minimize", "us_per_atom": "minimize"}
TRIALS = [
    create_trial(values=[1.0 / k, float(k)], params={(key := next(iter(SPACE))): 1e-3 * k}, distributions={key: SPACE[key].distribution()})
    for k in (1, 2, 3)
]
ROUND = {f"{name}_{when}": 0.1 for name in ("chosen", "drawn") for when in ("before", "after")}
ROWS = [
    Row(f"{n} {seed}", {"data.split.n_train": str(n), "seed": str(seed)}, {"valid/forces_mae": n**-0.5, "us_per_atom": 1.0}, "")
    for n in (50, 100, 200)
    for seed in (0, 1)
]
WATER = sampled(molecule("H2O"), molecule("H2O").positions + 0.01 * np.random.default_rng(0).standard_normal((50, 3, 3)))
COURSE = ReplicaCourse(np.arange(1.0, 9.0), np.zeros((8, 2)), np.ones((8, 2)), np.ones((8, 2)), 3, 9)
DRAWN: dict[str, Callable[[], Figure | None]] = {
    "learning.uncertainty": lambda: learning.uncertainty([0.1, 0.2], 0.1, 0.3),
    "learning.errors": lambda: learning.errors(ROUND),
    "learning.walkers": lambda: learning.walkers([{"name": "300K-0", "fate": "lost", "walked_ps": 1.0}]),
    "learning.learning_curve": lambda: learning.learning_curve([{"n_calls_before": 9, "force_rmse": 0.1, "spread_q99": 0.3}]),
    "tuning.history": lambda: tuning.history(TRIALS, [], OBJECTIVES),
    "tuning.slices": lambda: tuning.slices(TRIALS, SPACE, "valid/forces_mae"),
    "tuning.pareto": lambda: tuning.pareto(TRIALS, TRIALS[:2], list(OBJECTIVES)),
    "tuning.importances": lambda: tuning.importances({"valid/forces_mae": {"optimizer.learning_rate": 1.0}}),
    "comparison.draw": lambda: comparison.draw(ROWS),
    "md.cell": lambda: md.cell(WATER),
    "md.distributions": lambda: md.distributions(distributions(WATER, None, 1.25)),
    "replicas.survival": lambda: replicas.survival({"300K": (np.ones(3), np.array([True, False, False]))}),
    "replicas.temperature": lambda: replicas.temperature({"300K": COURSE}, {"300K": 300.0}),
}


@pytest.mark.parametrize("name", DRAWN)
def test_every_axis_says_what_it_shows(name: str) -> None:
    drawn = DRAWN[name]()
    assert unlabelled(drawn) == []
    assert svg(drawn)
