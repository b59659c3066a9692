"""Whether nnpx has become slower, larger or worse: every figure beside the committed one.

    python regression.py [time] [memory] [error]    table of ratios; exits with 1 if one of them is above its limit
    python regression.py --write [time] …           commits to what is measured now: writes figures.json

**Times** of `speed.py`: machines differ and are busy, so that processor time is counted, of one thread, in yardsticks: the time that fixed
work in torch takes on the same machine just before and after. It is made of what nnpx is made of, small matrix products, exponentials and
sums over an index. Processors still differ by half in what a figure comes to, so that each kind has its own; what one has none of is
compared with the largest of the others. **Memory** is the most that the tensors of an evaluation hold together, **errors** are those of
`accuracy.py`: they are the same everywhere but for rounding.
"""

import argparse
import functools
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from accuracy import DESCRIPTORS, mean_error
from speed import dynamics, make_update, median_seconds, single
from torch.profiler import ProfilerActivity, profile

#: ratios beyond these are regressions. Two runs of one code differ by up to 1.3 in time and 1.02 in memory; errors: see `accuracy.py`
LIMITS = {"time": 1.5, "memory": 1.15, "error": 1.15}
UNITS = {"time": "yardsticks", "memory": "MB", "error": "meV/Å"}
FIGURES = Path(__file__).with_name("figures.json")
#: the name in the file of what does not depend on the processor
ANY = "any processor"
#: what more is measured of
CHOSEN = ("acsf", "moments", "nep")
BUDGET_S, TURNS = 1.5, 5


def cases() -> dict[str, Callable[[], Callable[[], None]]]:
    """What is timed, by name."""
    found: dict[str, Callable[[], Callable[[], None]]] = {}
    for name, overrides in DESCRIPTORS.items():
        for system in ("ethanol", "water192", "si512") if name in CHOSEN else ("water192",):
            found[f"{name}: energy and forces, {system}"] = functools.partial(single, system, overrides)
        found[f"{name}: update, batch 8"] = lambda overrides=overrides: make_update(8, False, overrides)[0]
        if name in CHOSEN:
            found[f"{name}: four members, water192"] = functools.partial(single, "water192", overrides, n_members=4)
            found[f"{name}: steps of dynamics, ethanol"] = functools.partial(dynamics, "ethanol", overrides)
    return found


def yardstick() -> Callable[[], None]:
    """Fixed work."""
    left, right = torch.randn(512, 16, 32), torch.randn(512, 32, 24)
    index = torch.arange(512 * 16) % 512

    def work() -> None:
        product = torch.bmm(left, right)
        torch.zeros(512, 24).index_add_(0, index, torch.exp(-product.square()).view(-1, 24))

    return work


def times() -> Iterator[tuple[str, float]]:
    """In yardsticks: the median of some turns, of each beside the yardsticks before and after it."""
    measure = yardstick()
    for name, make in cases().items():
        work, turns = make(), []
        for _ in range(TURNS):
            before = median_seconds(measure, BUDGET_S / 20, time.process_time)
            seconds = median_seconds(work, BUDGET_S / TURNS, time.process_time)
            after = median_seconds(measure, BUDGET_S / 20, time.process_time)
            turns.append(seconds / statistics.mean([before, after]))
        yield name, statistics.median(turns)


def memory() -> Iterator[tuple[str, float]]:
    """Of an evaluation with a new list of neighbours, MB: what its tensors take together at most."""
    for name, overrides in DESCRIPTORS.items():
        evaluate = single("water192", overrides, skin=0.0)
        evaluate()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            evaluate()
        changes = [one for one in profiled.profiler.kineto_results.events() if one.name() == "[memory]"]
        held = most = 0
        for change in sorted(changes, key=lambda one: one.start_ns()):
            held += change.nbytes()
            most = max(most, held)
        yield f"{name}: memory of an evaluation, water192", most / 1e6


def errors() -> Iterator[tuple[str, float]]:
    """Of forces after a small training, meV/Å."""
    for name in DESCRIPTORS:
        yield f"{name}: error of forces, ethanol", mean_error(name)


MEASURES = {"time": times, "memory": memory, "error": errors}


def processor() -> str:
    """The kind of processor, as the system calls it."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def committed_to(name: str, place: str, of_all: dict[str, dict[str, float]]) -> float:
    """The figure of this place, or the largest of the others."""
    own = of_all.get(place, {})
    return own[name] if name in own else max(figures[name] for figures in of_all.values() if name in figures)


def main() -> None:
    """Measures, and compares or writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="time|memory|error", help="what to measure; all if not given")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    of_all, worst = json.loads(FIGURES.read_text()), 0.0
    print(f"times are compared with those of {processor() if processor() in of_all else 'the slowest of other processors'}")
    for kind in asked.kinds or MEASURES:
        place = processor() if kind == "time" else ANY
        for name, figure in MEASURES[kind]():
            if asked.write:
                of_all.setdefault(place, {})[name] = round(figure, 2)
            committed = committed_to(name, place, of_all)
            excess = figure / committed / LIMITS[kind]
            worst = max(worst, excess)
            numbers = f"{figure:8.1f} {UNITS[kind]}, committed {committed:8.1f}, ratio {figure / committed:.2f}"
            print(f"{name:50s} {numbers}{' !' if excess > 1 else ''}", flush=True)
    if asked.write:
        FIGURES.write_text(json.dumps(of_all, indent=1) + "\n")
    sys.exit(worst > 1)


if __name__ == "__main__":
    main()
