"""What a report says of predicted standard deviations: are they as large as the errors, and do they know where these are large?"""

from typing import Final

import numpy as np
from matplotlib.figure import Figure

from nnpx import figures
from nnpx.evaluation import Comparison
from nnpx.metrics import Metrics
from nnpx.report import Table
from nnpx.uncertainty.quality import FEWEST, LEVELS, both, observed_coverage, sparsification

#: names of the quantities whose spread is judged
_QUANTITIES: Final = {"energy_per_atom": "energy per atom", "forces": "force components"}
#: names of the numbers of `nnpx.uncertainty.quality` that are told as they are
_NUMBERS: Final = {
    "nll": "negative log likelihood (nats, of errors in eV/atom and eV/Å; smaller is better)",
    "miscalibration_area": "miscalibration area (0 if calibrated, 0.5 at worst)",
    "rmsce": "RMS calibration error (0 if calibrated)",
    "spearman": "rank correlation of spread and error (1 if it sorts them)",
    "spearman_by_atom": "the same of atoms, whose components count together",
    "ause": "area under the sparsification error (0 if it sorts them)",
    "auroc_large_errors": "AUROC for the worst tenth of the errors (0.5 if it knows nothing)",
}
#: name of the continuous ranked probability score, in milli-eV
_CRPS: Final = "continuous ranked probability score (meV/atom, meV/Å; smaller is better)"
#: kinds of uncertainty whose size is told, in milli-eV
_SIZES: Final = {
    "epistemic": "epistemic: spread of the members (meV/atom, meV/Å)",
    "aleatoric": "aleatoric: noise of the labels (meV/atom, meV/Å)",
    "sharpness": "both together (meV/atom, meV/Å)",
}
#: points of a drawn curve
_POINTS: Final = 200


def tables(found: Metrics) -> list[Table]:
    """The quality of the spread taken for a standard deviation, and its size beside that of the errors; without a spread, nothing."""
    judged = {name: one for name, one in found.get("uncertainty", {}).items() if name in _QUANTITIES}
    rows = [(label, *(one.get(key) for one in judged.values())) for key, label in _NUMBERS.items()]
    if not judged:
        return []
    rows.insert(1, (_CRPS, *(1e3 * one["crps"] if "crps" in one else None for one in judged.values())))
    columns = ("", *(_QUANTITIES[name] for name in judged))
    sizes = [(label, *(1e3 * one[key] if key in one else None for one in judged.values())) for key, label in _SIZES.items()]
    apart = found.get("told_apart", {})
    groups = sorted({name for one in apart.values() for name in one})
    foreign = [(name, *(one.get(name) for one in apart.values())) for name in groups]
    return [
        Table("Predicted standard deviations against errors", columns, rows),
        Table("What is uncertain (root mean square)", columns, [row for row in sizes if any(cell is not None for cell in row[1:])]),
        *([Table("Told apart from the validation set (AUROC, 0.5 if not)", ("group", *apart), foreign)] if foreign else []),
    ]


def sentence(found: Metrics) -> str:
    """How good the predicted standard deviation of the forces is, or else of the energies; nothing where there is none."""
    judged = found.get("uncertainty", {})
    for name in reversed(_QUANTITIES):
        if one := judged.get(name):
            ranks = f"rank correlation with the errors {one['spearman']:.2f}, " if "spearman" in one else ""
            return f"uncertainty of {_QUANTITIES[name]}: RMS calibration error {one['rmsce']:.2g}, {ranks}NLL {one['nll']:.2f} nats"
    return ""


def pictures(comparison: Comparison) -> dict[str, tuple[Figure, str]]:
    """Reliability and sparsification under their file names, with captions; without a spread, nothing."""
    pairs = {_QUANTITIES[name]: both(one.error, one.total) for name, one in comparison.deviations().items()}
    pairs = {name: pair for name, pair in pairs.items() if len(pair[0]) >= FEWEST}
    if not pairs:
        return {}
    coverage = {name: (LEVELS, observed_coverage(*pair)) for name, pair in pairs.items()}
    error, std = pairs[max(pairs, key=lambda name: len(pairs[name][0]))]
    kept = {"by spread": sparsification(error, std), "by the error itself": sparsification(error, np.abs(error))}
    chosen = np.linspace(0, len(error) - 1, min(_POINTS, len(error))).astype(int)
    sparse = {name: (chosen / len(error), curve[chosen]) for name, curve in kept.items()}
    captions = (
        "Is the spread as large as the errors? Share of the errors inside the central interval of a Gaussian of this width; "
        "below the diagonal the potential is too sure.",
        "Does the spread know where the errors are? Mean absolute error of what is left when the most uncertain samples are removed.",
    )
    axes = (("expected coverage", "observed coverage"), ("share removed", "error of the rest / of all"))
    drawn = ({"calibrated": (LEVELS, LEVELS), **coverage}, sparse)
    made = [figures.lines(series, xlabel=x, ylabel=y, xlog=False, ylog=False) for series, (x, y) in zip(drawn, axes, strict=True)]
    return dict(zip(("reliability", "sparsification"), zip(made, captions, strict=True), strict=True))
