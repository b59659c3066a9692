"""What a training of a given time reaches: python gpu_training.py PROJECT --seconds 350 [--device cuda] [--batch 5] [OVERRIDES]

One member, on molecules of one size: PROJECT/data/prepared as `nnpx prepare` writes it, OVERRIDES of the configuration as for `nnpx train`,
with a descriptor of learned moments (`experiment=acac`, `experiment=moments`). Writes PROJECT/models/potential.nnpx and prints JSON lines:
on the way the errors of the validation set, at the end those of the saved potential on the validation and on the test set, by group, in meV
and meV/Å.

Potential, loss, optimiser, averaged weights and errors are those of `nnpx train`. What differs: the clock says how far the training is, not
the number of updates; the averaged weights are judged every twentieth of the time, not every epoch; and on a GPU an update up to its
gradient is recorded once and replayed, since it takes hundreds of kernels that each take longer to start than to run. The loss is recorded,
too: that of the beginning throughout. `--device cpu` records nothing.
"""

import argparse
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from gpu_recording import Gradient, Molecules, constant_shapes, recorded
from gpu_systems import Record, tell
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from nnpx import artifact
from nnpx.assembly import Parts, build_parts
from nnpx.config import compose, instantiate
from nnpx.data.reader import read
from nnpx.descriptor.learned_density import Expansion
from nnpx.descriptor.stored import store
from nnpx.ensemble import Ensemble
from nnpx.errors import ConfigError, DataError
from nnpx.evaluation import Comparison, batches, compare, predict
from nnpx.files import read_json
from nnpx.fitting import Task, training_task, without_prior
from nnpx.graph import AtomicGraph
from nnpx.metrics import metrics
from nnpx.neighbors import graph_from_list
from nnpx.outcome import knowing_itself
from nnpx.potential import Potential
from nnpx.prior.zero import Zero
from nnpx.provenance import provenance
from nnpx.schedule.warmup_cosine import WarmupCosine
from nnpx.statistics import measure_scales
from nnpx.trainer.average import AveragedWeights
from nnpx.trainer.loop import Objective, Trainer

#: fractions of the time: when the averaged weights are judged first, and how often from then on
FIRST_LOOK, BETWEEN_LOOKS = 0.02, 0.05
#: updates that the training loss is averaged over, and updates that may be started before the GPU has finished others
AVERAGED, AHEAD = 200, 50


class Training:
    """Gradient descent until the time is over, as in `nnpx.trainer.loop`.

    Args:
        potential: initial weights in, best averaged weights out.
        molecules: what it learns from.
        valid: all pairs of those that the averaged weights are judged by, on the processor.
        objective: loss, optimiser and schedule.
        trainer: memory of the averaged weights and largest norm of the gradient.
        device: where it computes.
    """

    def __init__(
        self, potential: Potential, molecules: Molecules, valid: AtomicGraph, objective: Objective, trainer: Trainer, device: str
    ) -> None:
        self.potential, self.molecules, self.valid, self.objective = potential.to(device).train(), molecules, valid, objective
        self.judge, self.pieces = deepcopy(objective.loss), [piece.to(device) for piece in batches(valid)]
        self.gradient = Gradient(potential, objective.loss.to(device), molecules, trainer.gradient_clip)
        self.averaged = AveragedWeights(potential, decay=trainer.ema_decay)
        self.optimizer = objective.optimizer.build(self.gradient.weights)
        self.wait: Callable[[], None] = torch.cuda.synchronize if device != "cpu" else lambda: None
        self.update = self.gradient if device == "cpu" else recorded(self.gradient)
        self.step, self.losses = 0, deque[Tensor](maxlen=AVERAGED)
        self.best_loss, self.best_step, self.best_weights = math.inf, 0, self.averaged.copy()

    def run(self, seconds: float, seed: int) -> None:
        """Train for so long; the seed decides the order."""
        order = self.molecules.shuffled(seed)
        begun = looked = time.perf_counter()
        looked_step, next_look = 0, FIRST_LOOK
        while (progress := (time.perf_counter() - begun) / seconds) < 1.0:
            self._one_update(next(order), progress)
            if progress >= next_look:
                self._look(progress, looked, looked_step)
                looked, looked_step, next_look = time.perf_counter(), self.step, progress + BETWEEN_LOOKS
        self._look(1.0, looked, looked_step)
        took = time.perf_counter() - begun
        epochs = self.step * self.molecules.n_chosen / self.molecules.n_structures
        done = {"updates": self.step, "epochs": epochs, "ms_per_update": 1e3 * took / self.step}
        tell({**done, "best_step": self.best_step, "best_loss": self.best_loss})
        self.averaged.load(self.best_weights)

    def _one_update(self, structures: Tensor, progress: float) -> None:
        rate = self.objective.optimizer.learning_rate * fraction(self.objective.schedule, self.step, progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.molecules.choose(structures)
        loss, _ = self.update()
        self.losses.append(loss.clone())
        self.optimizer.step()
        self.averaged.update(self.step)
        self.step += 1
        if self.step % AHEAD == 0:
            self.wait()

    def _look(self, progress: float, since: float, since_step: int) -> None:
        """Judge the averaged weights, and keep them if they are the best."""
        self.wait()
        ms = 1e3 * (time.perf_counter() - since) / max(1, self.step - since_step)
        self.potential.eval()
        with self.averaged.in_place():
            prediction = predict(self.potential, self.pieces)
        self.potential.train()
        value = float(self.judge(prediction, self.valid, progress=1.0))
        if value < self.best_loss:
            self.best_loss, self.best_step, self.best_weights = value, self.step, self.averaged.copy()
        found = compare(self.valid, prediction, self.potential.numbers, [""] * self.valid.n_structures)
        losses = {"train_loss": float(torch.stack([*self.losses]).mean()), "valid_loss": value}
        tell({"progress": progress, "step": self.step, "ms_per_update": ms, **losses, **errors(metrics(found))})


def fraction(schedule: WarmupCosine, step: int, progress: float) -> float:
    """Of the peak learning rate: half a cosine of the time, and a rise over the first updates."""
    rise = min(1.0, (step + 1) / max(1, schedule.warmup_steps))
    return rise * (schedule.final_fraction + (1.0 - schedule.final_fraction) * 0.5 * (1.0 + math.cos(math.pi * progress)))


def labelled(structures: Sequence[Atoms], parts: Parts, cutoff: float) -> AtomicGraph:
    """The structures with what the prior leaves of their labels."""
    return without_prior(graph_from_list(structures, numbers=parts.numbers, cutoff=cutoff, where="the prepared data"), parts.prior)


def starting_potential(parts: Parts, task: Task, trainer: Trainer, near: AtomicGraph) -> Potential:
    """The potential for what the prior leaves, with the scales of the training set."""
    with torch.no_grad():
        described = store(near, parts.descriptor, parts.embedding(near.species), trainer.dtype, derivatives=False)
    scales = measure_scales(described, numbers=task.numbers, isolated_atoms=task.isolated_atoms, feature_floor=trainer.feature_floor)
    potential = parts.potential(scales).to_precision(trainer.dtype)
    potential.prior = Zero()
    return potential


def train(config: DictConfig, task: Task, prepared: Path, seconds: float, device: str) -> tuple[Potential, int]:
    """The potential, and the number of updates."""
    sets = {part: read(prepared / f"{part}.extxyz") for part in ("train", "valid")}
    trainer: Trainer = instantiate(config.trainer)
    parts = build_parts(task.config, numbers=task.numbers, seed=config.seed)
    refuse(config, parts, sets["train"], trainer.batch_size)
    whole = {part: labelled(some, parts, math.inf).cast(trainer.dtype) for part, some in sets.items()}
    potential = starting_potential(parts, task, trainer, labelled(sets["train"], parts, parts.cutoff_radius))
    knows_energy_std = parts.knows_spread or bool(torch.isfinite(whole["train"].energy_noise).any())
    known = {"knows_energy_std": knows_energy_std, "knows_forces_std": parts.knows_spread}
    loss = instantiate(config.loss, forces_rms=float(potential.energy_scale), numbers=task.numbers, **known)
    objective = Objective(loss, instantiate(config.optimizer), instantiate(config.schedule))
    n_weights = sum(weight.numel() for weight in potential.parameters())
    counts = {part: len(some) for part, some in sets.items()}
    tell({"n_parameters": n_weights, "n_features": potential.descriptor.n_features, **counts})
    with constant_shapes():
        molecules = Molecules(whole["train"], trainer.batch_size, device)
        training = Training(potential, molecules, whole["valid"], objective, trainer, device)
        training.run(seconds, config.seed)
    potential.prior = parts.prior
    return potential.cpu().eval(), training.step


def refuse(config: DictConfig, parts: Parts, structures: Sequence[Atoms], batch: int) -> None:
    """What cannot be trained in this way."""
    if not isinstance(instantiate(config.schedule), WarmupCosine):
        raise ConfigError("schedule", expected="warmup_cosine", found=config.schedule._target_, do="Choose schedule=warmup_cosine.")
    if not any(isinstance(module, Expansion) for module in parts.descriptor.modules()):
        found, do = config.descriptor._target_, "Choose experiment=acac or experiment=moments."
        raise ConfigError("descriptor", expected="learned moments", found=found, do=do)
    sizes, periodic = {len(atoms) for atoms in structures}, any(atoms.pbc.any() for atoms in structures)
    if len(sizes) > 1 or periodic or len(structures) <= batch:
        found = f"{len(structures)} structures of {sorted(sizes)} atoms, {'some' if periodic else 'none'} periodic"
        raise DataError("train.extxyz", expected=f"molecules of one size, more than {batch}", found=found, do="Use `nnpx train`.")


def compared(ensemble: Ensemble, path: Path, device: str) -> Comparison:
    """Labels and predictions of a file, as `nnpx evaluate` compares them."""
    structures = read(path)
    graph = graph_from_list(structures, numbers=ensemble.numbers, cutoff=ensemble.cutoff_radius, where=path.name)
    groups = [str(atoms.info.get("group", atoms.info.get("config_type", ""))) for atoms in structures]
    return compare(graph, predict(ensemble, (piece.to(device) for piece in batches(graph))), ensemble.numbers, groups)


def errors(found: Record) -> Record:
    """Of the energy (meV) and of the force components (meV/Å)."""
    return {f"{name}_{kind}": 1e3 * found[name][kind] for name in ("energy", "forces") if name in found for kind in ("mae", "rmse")}


def main() -> None:
    """Train, save and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--seconds", type=float, required=True, help="of training, the preparation apart")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=5, help="structures per update")
    parser.add_argument("overrides", nargs="*", help="of the configuration, as for nnpx")
    asked = parser.parse_intermixed_args()
    config = compose([*asked.overrides, f"trainer.batch_size={asked.batch}"])
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    prepared, path = asked.project / "data" / "prepared", asked.project / "models" / "potential.nnpx"
    card = read_json(prepared / "card.json")
    potential, updates = train(config, training_task(resolved, card, asked.project), prepared, asked.seconds, asked.device)
    ensemble = knowing_itself(Ensemble([potential]), instantiate(config.uncertainty), prepared)
    training, made = {"seconds": asked.seconds, "updates": updates}, provenance(asked.project)
    artifact.save(path, ensemble, config=resolved, card=card, provenance=made, training=training)
    ensemble = artifact.load(path, device=asked.device)
    for part in ("valid", "test"):
        if (prepared / f"{part}.extxyz").stat().st_size:
            found = metrics(compared(ensemble, prepared / f"{part}.extxyz", asked.device))
            for group, own in {"all": found, **found["by_group"]}.items():
                tell({"errors": part, "group": group, "structures": own["structures"], **errors(own)})


if __name__ == "__main__":
    main()
