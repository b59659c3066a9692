"""Training: it learns, it resumes bit for bit, and it loses nothing."""

import copy
import math
import os
import resource
import signal
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from lightning_fabric.utilities.rank_zero import rank_zero_info
from small import CONFIG, NUMBERS, carbons, ethanols, graph_of, potential_for, stored

from nnpx.config import compose, conf_dir, instantiate
from nnpx.configuration.schema import plain
from nnpx.errors import CheckpointError, TrainingError
from nnpx.loss import Loss
from nnpx.trainer.loop import DTYPES, Objective
from nnpx.trainer.state import FORMAT, Checkpoint, Epoch

CHOICES = [f"{noun}={path.stem}" for noun in ("loss", "optimizer", "schedule") for path in sorted((conf_dir() / noun).glob("*.yaml"))]


class KilledInMidEpoch(Loss):
    """The usual loss until an update in the middle of an epoch, at which the process is killed."""

    def __init__(self, loss: Loss, update: int) -> None:
        super().__init__()
        self.loss, self.left = loss, update

    def forward(self, prediction, graph, progress):
        if prediction.forces.requires_grad:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.loss(prediction, graph, progress)


#: so large a rate that every epoch is worse than random weights
HARMFUL = {"optimizer": {**CONFIG["optimizer"], "learning_rate": 30.0}, "schedule": plain(compose(["schedule=constant"]).schedule)}


def fit(
    folder: Path, *, report=lambda epoch: None, structures=None, chosen=None, wrap=lambda loss: loss, starts=None, threads=1, **trainer
):
    """Train a fresh small potential, resuming from the folder's checkpoint; a start counts where there is a list to keep it in."""
    torch.set_num_threads(threads)
    config, dtype = {**CONFIG, **(chosen or {})}, DTYPES[trainer.get("precision", "float32")]
    structures = structures or ethanols(14)
    graph = graph_of(structures)
    potential = potential_for(graph, config=config)
    graph = stored(graph, potential, dtype)
    potential.to_precision(dtype)
    if starts is not None:
        starts.append(copy.deepcopy(potential))
    train, valid = graph.select(torch.arange(10)), graph.select(torch.arange(10, len(structures)))
    loss = instantiate(
        config["loss"],
        forces_rms=float(potential.energy_scale),
        numbers=NUMBERS,
        knows_energy_std=potential.n_heads > 1,
        knows_forces_std=potential.n_heads > 1,
    )
    objective = Objective(wrap(loss), instantiate(config["optimizer"]), instantiate(config["schedule"]))
    curve = instantiate({**CONFIG["trainer"], **trainer}).fit(
        potential,
        train=train,
        valid=valid,
        objective=objective,
        seed=3,
        checkpoint=Checkpoint(folder / "member.checkpoint"),
        report=lambda row, n_before: report(row),
        start_counts=starts is not None,
    )
    return potential, curve


def identical(first, second) -> bool:
    (a, a_curve), (b, b_curve) = first, second
    weights = all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
    return weights and [str(row) for row in a_curve] == [str(row) for row in b_curve]


def test_training_lowers_the_error_of_the_forces(tmp_path):
    _, curve = fit(tmp_path, structures=ethanols(54), max_epochs=40)
    assert curve[-1].train_loss < 0.05 * curve[0].train_loss
    assert curve[-1].valid_forces_mae < 0.5 * curve[0].valid_forces_mae


class Diary(Loss):
    """The usual loss, which notes when it was asked."""

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.loss, self.trained_at, self.judged_at = loss, [], []

    def forward(self, prediction, graph, progress):
        (self.trained_at if prediction.forces.requires_grad else self.judged_at).append(progress)
        return self.loss(prediction, graph, progress)


def test_the_loss_is_told_how_far_training_is_and_judges_every_epoch_as_at_its_end(tmp_path):
    diary = []
    fit(tmp_path, wrap=lambda loss: diary.append(Diary(loss)) or diary[0])
    assert diary[0].trained_at == [update / 16 for update in range(16)]  # 4 epochs of 4 updates
    assert diary[0].judged_at == [1.0] * 4


@pytest.mark.usefixtures("two_threads")
def test_torch_has_several_threads_for_large_updates_only(tmp_path, monkeypatch):
    """Small ones are as fast with one, which waits for no other that the system lets wait."""
    monkeypatch.setattr("nnpx.trainer.loop.FEWEST_ATOMS_BESIDE_LOOPS", 18)
    seen = []

    def watched(loss):
        loss.register_forward_hook(lambda *words: seen.append(torch.get_num_threads()))
        return loss

    for batch_size, expected in ((3, 1), (4, 2)):  # of 9 atoms each
        seen.clear()
        fit(tmp_path / str(batch_size), wrap=watched, threads=2, max_epochs=1, batch_size=batch_size)
        assert set(seen) == {expected}
        assert torch.get_num_threads() == 2


def test_the_second_stage_of_a_loss_decides_which_epoch_is_the_best(tmp_path):
    """All the weight on the forces first, on the energy then: the energies of the epochs compare in valid_loss from the first on."""
    only = [{**CONFIG["loss"], "energy_weight": energy, "forces_weight": 1.0 - energy} for energy in (0.0, 1.0)]
    loss = {"_target_": "nnpx.loss.two_stage.TwoStage", "first": only[0], "second": only[1], "switch_at": 0.75}
    _, curve = fit(tmp_path / "both", chosen={"loss": loss}, max_epochs=8)
    _, first = fit(tmp_path / "first", chosen={"loss": only[0]}, max_epochs=8)
    assert [row.train_loss for row in curve[:6]] == [row.train_loss for row in first[:6]]
    assert [row.valid_forces_mae for row in curve[:6]] == [row.valid_forces_mae for row in first[:6]]
    assert all(one.valid_loss != other.valid_loss for one, other in zip(curve[:6], first[:6], strict=True))
    assert curve[6].train_loss != first[6].train_loss


def test_lbfgs_on_the_whole_set_in_double_precision_leaves_adamw_behind(tmp_path):
    quasi_newton = {"optimizer": plain(compose(["optimizer=lbfgs"]).optimizer), "schedule": plain(compose(["schedule=constant"]).schedule)}
    whole = {"batch_size": None, "ema_decay": 0.0, "precision": "float64", "gradient_clip": None, "max_epochs": 8}
    _, curve = fit(tmp_path / "lbfgs", chosen=quasi_newton, **whole)
    _, other = fit(tmp_path / "adamw", max_epochs=30)  # as many evaluations of the loss, as often
    assert [row.step for row in curve] == list(range(1, 9))  # an epoch is one update
    assert all(later.train_loss < earlier.train_loss for earlier, later in pairwise(curve))
    assert curve[-1].train_loss < 0.5 * other[-1].train_loss


def test_training_learns_stress_where_it_is_labelled(tmp_path):
    _, curve = fit(tmp_path, structures=carbons(24), max_epochs=60)
    assert curve[-1].train_loss < 0.05 * curve[0].train_loss
    assert curve[-1].valid_stress_mae < 0.75 * curve[0].valid_stress_mae


@pytest.mark.parametrize("choice", CHOICES)
def test_n_epochs_resumed_for_n_more_equal_2n_epochs_exactly(choice, tmp_path):
    def interrupt(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    noun = choice.partition("=")[0]
    heads = {"ensemble": plain(compose(["ensemble=shallow"]).ensemble)} if choice in ("loss=nll", "loss=crps") else {}
    chosen = {noun: plain(compose([choice])[noun]), **heads}
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "interrupted", report=interrupt, chosen=chosen)
    assert identical(fit(tmp_path / "interrupted", chosen=chosen), fit(tmp_path / "straight", chosen=chosen))


def test_a_run_killed_in_mid_epoch_ends_as_if_it_had_not_been(tmp_path):
    process = get_context("spawn").Process(
        target=fit, args=(tmp_path / "killed",), kwargs={"wrap": partial(KilledInMidEpoch, update=10)}
    )  # 4 an epoch
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert Checkpoint(tmp_path / "killed" / "member.checkpoint").load()["epoch"] == 2
    assert identical(fit(tmp_path / "killed"), fit(tmp_path / "straight"))


def test_a_start_that_no_epoch_improves_on_is_what_training_returns(tmp_path):
    starts = []
    potential, curve = fit(tmp_path, chosen=HARMFUL, starts=starts)
    assert all(torch.equal(kept, first) for kept, first in zip(potential.parameters(), starts[0].parameters(), strict=True))
    assert [row.epoch for row in curve] == [0, 1, 2, 3, 4]
    assert curve[0].valid_loss < min(row.valid_loss for row in curve[1:])
    assert math.isnan(curve[0].train_loss + curve[0].learning_rate)
    _, without = fit(tmp_path / "without", chosen=HARMFUL)
    assert [str(row) for row in without] == [str(row) for row in curve[1:]]  # to validate the start changes no epoch


def test_a_start_is_still_the_best_after_an_interruption(tmp_path):
    def interrupt(epoch: Epoch) -> None:
        if epoch.epoch == last:
            raise KeyboardInterrupt

    straight = fit(tmp_path / "straight", chosen=HARMFUL, starts=[])
    for last in (0, 2):
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / str(last), report=interrupt, chosen=HARMFUL, starts=[])
        assert identical(fit(tmp_path / str(last), chosen=HARMFUL, starts=[]), straight)


def test_a_start_without_a_finite_loss_is_told_before_training(tmp_path):
    structures = ethanols(14)
    structures[13].calc.results["energy"] = 1e300
    with pytest.raises(TrainingError, match="epoch 0: expected a finite loss, found nan in validation"):
        fit(tmp_path, structures=structures, starts=[])


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = fit(tmp_path)
    reports = []
    assert identical(first, fit(tmp_path, report=reports.append))
    assert [str(row) for row in reports] == [str(row) for row in first[1]]  # the epochs before are told again, so that no curve is cut


def test_it_stops_when_the_validation_loss_no_longer_improves(tmp_path):
    _, curve = fit(tmp_path, max_epochs=300, patience_epochs=3)
    best = min(range(len(curve)), key=lambda k: curve[k].valid_loss)
    assert len(curve) == best + 1 + 3 < 300


def test_missing_labels_neither_count_nor_spoil(tmp_path):
    structures = ethanols(14)
    for atoms in structures[::2]:
        atoms.calc.results["forces"][:] = float("nan")
    structures[1].calc.results["energy"] = float("nan")
    potential, curve = fit(tmp_path, structures=structures)
    assert all(torch.isfinite(weight).all() for weight in potential.parameters())
    assert all(row.train_loss == row.train_loss for row in curve)


def test_molecules_and_crystals_train_together(tmp_path):
    potential, curve = fit(tmp_path, structures=[one for pair in zip(ethanols(7), carbons(7), strict=True) for one in pair])
    assert all(torch.isfinite(weight).all() for weight in potential.parameters())
    assert curve[-1].valid_stress_mae > 0


def test_a_diverging_run_ends_with_a_reason(tmp_path):
    structures = ethanols(14)
    structures[0].calc.results["energy"] = 1e300
    with pytest.raises(TrainingError, match=r"expected a finite loss, found .* Lower optimizer\.learning_rate"):
        fit(tmp_path, structures=structures)


def _fill_the_disk(folder: Path) -> None:
    """A process whose files may not grow beyond 4 kB writes a checkpoint."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    try:
        fit(folder)
    except CheckpointError as error:
        os._exit(7 if "the checkpoint before it is intact" in str(error) else 8)
    os._exit(9)


def test_a_full_disk_leaves_the_previous_checkpoint_valid(tmp_path):
    def interrupt(epoch: Epoch) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, report=interrupt)
    checkpoint = Checkpoint(tmp_path / "member.checkpoint")
    before = copy.deepcopy(checkpoint.load())
    process = get_context("spawn").Process(target=_fill_the_disk, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 7
    assert checkpoint.load()["epoch"] == before["epoch"] == 1
    assert not list(tmp_path.glob(".*"))


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    (tmp_path / "member.checkpoint").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match=rf"expected a checkpoint of format {FORMAT}, found .* Delete the file"):
        fit(tmp_path)


def test_lightning_advises_no_tf32(caplog):
    with caplog.at_level("INFO", logger="lightning_fabric.utilities.rank_zero"):
        rank_zero_info("Set `torch.set_float32_matmul_precision('high')`.")
        rank_zero_info("All processes have started.")
    assert [line.message for line in caplog.records] == ["All processes have started."]
