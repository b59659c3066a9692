"""What an ensemble costs beside one of its members: python tests/benchmarks/ensembles.py [--systems ethanol water192] [OVERRIDES]

Energy and forces through the ASE calculator, with all there is to find (molecules are recorded), with and without the spread of the
forces; random weights. Medians of rounds in which all cases take turns, so that others on the machine slow all of them alike.
"""

import argparse
import json
import statistics
import time

import torch
from benchmarks.speed import SYSTEMS, displaced, potential_for

import nnpx
from nnpx.ensemble import Ensemble

ROUNDS = 15
SHALLOW = ["ensemble=shallow", "ensemble.n_heads=16", "loss=crps"]


def main() -> None:
    """Measure and print one JSON line per system."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="*", default=["ethanol", "water192"], choices=list(SYSTEMS))
    parser.add_argument("overrides", nargs="*", help="of the configuration, as for nnpx")
    asked = parser.parse_intermixed_args()
    for system in asked.systems:
        members = [potential_for(displaced(system, 2), asked.overrides, seed=k)[0].to_precision(torch.float64).eval() for k in range(4)]
        heads = [potential_for(displaced(system, 2), [*asked.overrides, *SHALLOW])[0].to_precision(torch.float64).eval()]
        cases = {
            "one": (members[:1], False),
            "four": (members, False),
            "four with force spread": (members, True),
            "16 heads": (heads, False),
            "16 heads with force spread": (heads, True),
        }
        calculators = {name: nnpx.Calculator(Ensemble(some), spread=spread, record_after=0) for name, (some, spread) in cases.items()}
        seconds = {name: [] for name in cases}
        for _ in range(ROUNDS):
            for name, calculator in calculators.items():
                atoms = displaced(system, 1)[0]
                atoms.calc = None
                started = time.perf_counter()
                calculator.calculate(atoms, ["forces"])
                seconds[name].append(time.perf_counter() - started)
        median = {name: statistics.median(values[2:]) for name, values in seconds.items()}
        print(json.dumps({"system": system, **{name: round(1e3 * value, 2) for name, value in median.items()}, "unit": "ms"}))
        print(json.dumps({"ratios": {name: round(value / median["one"], 2) for name, value in median.items()}}))


if __name__ == "__main__":
    main()
