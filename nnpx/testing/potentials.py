"""Laws of a whole potential: symmetry, derivatives, smoothness, locality."""

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from nnpx.testing.contract import require, require_equal
from nnpx.testing.structures import Case, displaced, random_rotation, rotated, strained, to_tensor

#: weights of the four-point central difference f′ ≈ Σ w f(x + n h) / h, whose error is h⁴ f⁽⁵⁾ / 30
_STENCIL: Final = {-2: 1.0 / 12.0, -1: -8.0 / 12.0, 1: 8.0 / 12.0, 2: -1.0 / 12.0}
_VOIGT: Final = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def rotation_turns_forces_and_stress(case: Case) -> None:
    """E(Qr) = E(r), F(Qr) = Q F(r), stress(Qr) = Q stress Qᵀ for a rotation Q."""
    _orthogonal(case, random_rotation(1), "rotation")


def reflection_mirrors_forces_and_stress(case: Case) -> None:
    """The same for an improper Q: a molecule and its mirror image have one energy."""
    _orthogonal(case, -random_rotation(2), "reflection")


def translation_changes_nothing(case: Case) -> None:
    """E, F and stress do not depend on the origin, nor on which periodic image of an atom is listed."""
    for atoms in (case.molecule, case.crystal):
        moved = atoms.copy()
        moved.positions += np.array([3.3, -7.1, 11.9])
        if atoms.pbc.any():
            moved.positions[0] += atoms.cell.array[0] - 2.0 * atoms.cell.array[2]
        _same(case, atoms, moved, "translation")


def permutation_carries_forces_along(case: Case) -> None:
    """The order in which atoms are listed means nothing."""
    for atoms in (case.molecule, case.crystal):
        order = np.random.default_rng(3).permutation(len(atoms))
        here, there = case.predict(atoms), case.predict(atoms[order])
        require_equal("permutation: energy", there.energy, here.energy, within=1e-10, unit="eV")
        require_equal("permutation: forces", there.forces, here.forces[torch.from_numpy(order)], within=1e-10, unit="eV/Å")


def forces_are_minus_the_slope_of_the_energy(case: Case) -> None:
    """F = −∂E/∂r by finite differences along random directions of all coordinates, within 1e-6 eV/Å; and they sum to zero."""
    step = 2e-4
    random = np.random.default_rng(13)
    weights = torch.tensor(list(_STENCIL.values()), dtype=torch.float64)
    for atoms in (case.molecule, case.crystal):
        directions = random.normal(size=(6, len(atoms), 3))
        energies = case.energies([displaced(atoms, n * step * direction) for direction in directions for n in _STENCIL])
        slopes = energies.reshape(6, -1) @ weights / step
        forces = case.predict(atoms).forces.detach()
        along = torch.einsum("dax,ax->d", to_tensor(directions), forces)
        require_equal("forces along random directions", along, -slopes, within=1e-6, unit="eV/Å")
        require_equal("sum of forces", forces.sum(0), torch.zeros(3, dtype=forces.dtype), within=1e-9, unit="eV/Å")


def stress_is_the_slope_in_strain_per_volume(case: Case) -> None:
    """The stress is (1/V) ∂E/∂strain by finite differences, within 1e-7 eV/Å³, positive under tension; symmetric; NaN without a cell."""
    step = 1e-4
    weights = torch.tensor(list(_STENCIL.values()), dtype=torch.float64)
    slope = torch.zeros(3, 3, dtype=torch.float64)
    for a, b in _VOIGT:
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5
        strain[b, a] += 0.5
        energies = case.energies([strained(case.crystal, n * step * strain) for n in _STENCIL])
        slope[a, b] = slope[b, a] = energies @ weights / step
    stress = case.predict(case.crystal).stress.detach()[0]
    require_equal("stress", stress, slope / case.crystal.get_volume(), within=1e-7, unit="eV/Å³")
    require_equal("symmetry of the stress", stress, stress.T, within=1e-10, unit="eV/Å³")
    open_stress = case.predict(case.molecule).stress.detach()
    require(bool(open_stress.isnan().all()), "stress of a molecule", expected="NaN", found=f"{open_stress.tolist()}")


def force_loss_has_the_right_gradient(case: Case) -> None:
    """In training mode, ∂(Σ w·F)/∂parameters agrees with finite differences along a random direction: second derivatives are complete."""
    potential, graph, step = case.potential, case.graph(case.molecule), 1e-5
    parameters = [parameter for parameter in potential.parameters() if parameter.requires_grad]
    generator = torch.Generator().manual_seed(12)
    weight, *along = [torch.randn(x.shape, generator=generator, dtype=torch.float64) for x in (graph.positions, *parameters)]

    def loss_at(offset: float) -> Tensor:
        with torch.no_grad():
            for parameter, direction in zip(parameters, along, strict=True):
                parameter.add_(direction, alpha=offset)
        return (potential(graph).forces * weight).sum()

    potential.train()
    slopes = torch.autograd.grad(loss_at(0.0), parameters, allow_unused=True)
    slope = sum((d * s).sum() for d, s in zip(along, slopes, strict=True) if s is not None)
    difference = (loss_at(step) - loss_at(-2.0 * step)).detach() / (2.0 * step)
    loss_at(step)
    potential.eval()
    require_equal(
        "gradient of a force loss", torch.as_tensor(slope), difference, within=1e-6 * (1.0 + float(difference.abs())), unit="eV/Å"
    )


def energy_is_smooth_across_the_cutoff(case: Case) -> None:
    """An atom that crosses the cutoff changes the energy by no more than 1e-9 eV in a step of 1e-6 Å, and no force jumps."""
    radius = case.potential.cutoff_radius
    distances = radius + np.linspace(-1e-5, 1e-5, 21)
    for numbers in _pairs(case.potential.numbers):
        scan = case.predict(*[Atoms(numbers, [[0.0, 0.0, 0.0], [0.0, distance, 0.0]]) for distance in distances])
        step = float(scan.energy.detach().diff().abs().max())
        require(step <= 1e-9, "energy across the cutoff", expected="steps below 1e-9 eV", found=f"{step:.3g} eV")
        jump = float(scan.forces.detach().reshape(len(distances), -1).diff(dim=0).abs().max())
        require(jump <= 1e-4, "forces across the cutoff", expected="steps below 1e-4 eV/Å", found=f"{jump:.3g} eV/Å")


def energy_follows_the_forces_from_bond_to_cutoff(case: Case) -> None:
    """∫F·dr along a path equals the change in energy, from 0.6 times the cutoff to beyond it: no step hides at an inner radius."""
    radius = case.potential.cutoff_radius
    distances = np.linspace(0.6 * radius, 1.02 * radius, 401)  # fine enough for the narrowest published Gaussians
    numbers = _pairs(case.potential.numbers)[-1]
    scan = case.predict(*[_triangle(numbers, distance) for distance in distances])
    pull = -scan.forces.detach().reshape(len(distances), 3, 3)[:, 1, 1]
    work = 0.5 * (pull[1:] + pull[:-1]) * float(distances[1] - distances[0])
    off = float((scan.energy.detach().diff() - work).abs().max())
    scale = 1.0 + float(pull.abs().max())
    require(off <= 2e-6 * scale, "energy along a path", expected="the work of the force", found=f"a step of {off:.3g} eV")


def distant_molecules_add(case: Case) -> None:
    """Two molecules 50 Å apart: energies add and forces do not notice."""
    first, second = case.molecule, case.molecule[1:]
    second.positions += np.array([50.0, 0.0, 0.0])
    both, one, other = case.predict(first + second), case.predict(first), case.predict(second)
    require_equal("two distant molecules", both.energy, one.energy + other.energy, within=1e-10, unit="eV")
    require_equal("forces of distant molecules", both.forces, torch.cat([one.forces, other.forces]), within=1e-10, unit="eV/Å")


def supercell_doubles_the_energy(case: Case) -> None:
    """A repeated cell is the same crystal: twice the energy, the same forces and stress."""
    one, two = case.predict(case.crystal), case.predict(case.crystal.repeat((1, 2, 1)))
    require_equal("supercell: energy", two.energy, 2.0 * one.energy, within=1e-9, unit="eV")
    require_equal("supercell: forces", two.forces, torch.cat([one.forces, one.forces]), within=1e-10, unit="eV/Å")
    require_equal("supercell: stress", two.stress, one.stress, within=1e-10, unit="eV/Å³")


def batch_equals_loop(case: Case) -> None:
    """Structures do not notice that they share a batch."""
    structures = [case.molecule, case.crystal, case.molecule[:1], case.crystal[2:]]
    batch, loop = case.predict(*structures), [case.predict(atoms) for atoms in structures]
    for name, unit in (("energy", "eV"), ("forces", "eV/Å"), ("stress", "eV/Å³"), ("atomic_energies", "eV")):
        alone = torch.cat([getattr(one, name) for one in loop])
        require_equal(f"batch against loop: {name}", getattr(batch, name), alone, within=1e-10, unit=unit)


def isolated_atom_has_energy_and_no_force(case: Case) -> None:
    """An atom alone has a finite energy, the same wherever it is but for rounding, and exactly no force."""
    for number in case.potential.numbers:
        here, there = Atoms([number], [[0.0, 0.0, 0.0]]), Atoms([number], [[5.0, -3.0, 2.0]])
        alone = case.predict(here, there)
        require(bool(alone.energy.isfinite().all()), "isolated atom", expected="a finite energy", found=f"{alone.energy.tolist()} eV")
        require_equal("isolated atom: energy", alone.energy[:1], alone.energy[1:], within=1e-13, unit="eV")
        require_equal("isolated atom: forces", alone.forces, torch.zeros_like(alone.forces), within=0.0, unit="eV/Å")


def energy_is_the_sum_of_atomic_energies(case: Case) -> None:
    """E = Σ_i E_i."""
    prediction = case.predict(case.molecule)
    require_equal("sum of atomic energies", prediction.atomic_energies.sum()[None], prediction.energy, within=1e-10, unit="eV")


POTENTIAL_LAWS: Final[tuple[Callable[[Case], None], ...]] = (
    rotation_turns_forces_and_stress,
    reflection_mirrors_forces_and_stress,
    translation_changes_nothing,
    permutation_carries_forces_along,
    forces_are_minus_the_slope_of_the_energy,
    stress_is_the_slope_in_strain_per_volume,
    force_loss_has_the_right_gradient,
    energy_is_smooth_across_the_cutoff,
    energy_follows_the_forces_from_bond_to_cutoff,
    distant_molecules_add,
    supercell_doubles_the_energy,
    batch_equals_loop,
    isolated_atom_has_energy_and_no_force,
    energy_is_the_sum_of_atomic_energies,
)


def _orthogonal(case: Case, matrix: np.ndarray, name: str) -> None:
    q = to_tensor(matrix)
    for atoms in (case.molecule, case.crystal):
        here, there = case.predict(atoms), case.predict(rotated(atoms, matrix))
        require_equal(f"{name}: energy", there.energy, here.energy, within=1e-10, unit="eV")
        require_equal(f"{name}: forces", there.forces, here.forces @ q.T, within=1e-10, unit="eV/Å")
        require_equal(f"{name}: stress", there.stress, q @ here.stress @ q.T, within=1e-10, unit="eV/Å³")


def _same(case: Case, atoms: Atoms, other: Atoms, name: str) -> None:
    here, there = case.predict(atoms), case.predict(other)
    require_equal(f"{name}: energy", there.energy, here.energy, within=1e-10, unit="eV")
    require_equal(f"{name}: forces", there.forces, here.forces, within=1e-10, unit="eV/Å")
    require_equal(f"{name}: stress", there.stress, here.stress, within=1e-10, unit="eV/Å³")


def _pairs(numbers: list[int]) -> list[tuple[int, int]]:
    return [(first, second) for k, first in enumerate(numbers) for second in numbers[k:]]


def _triangle(numbers: tuple[int, int], distance: float) -> Atoms:
    """Two atoms `distance` (Å) apart, and a third near the first that gives them angles."""
    first, second = numbers
    return Atoms([first, second, first], [[0.0, 0.0, 0.0], [0.0, distance, 0.0], [1.1, 0.3, 0.2]])
