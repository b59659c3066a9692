"""Whether nnpx has become slower: every figure of `speed.py` beside the committed one.

    python regression.py            table of ratios; exits with 1 if something costs more than LIMIT times what it did
    python regression.py --write    commits to what is measured now: writes figures.json

Machines differ and are busy, so that a figure is counted in yardsticks: the time that fixed work in torch takes on the same machine just
before and after. It is made of what nnpx is made of, small matrix products, exponentials and sums over an index. Processors still differ by
half in what a figure comes to, so that each kind has its own; one that has none is compared with the largest of the others.
"""

import argparse
import functools
import json
import platform
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from speed import make_update, median_seconds, single

#: a ratio beyond this is a regression; two runs of one code differ by up to 1.3
LIMIT = 1.5
FIGURES = Path(__file__).with_name("figures.json")
BUDGET_S = 2.0


def cases() -> dict[str, Callable[[], Callable[[], None]]]:
    """What is measured, by name."""
    found: dict[str, Callable[[], Callable[[], None]]] = {}
    for name, overrides in {"acsf": ["descriptor=acsf"], "moments": ["experiment=moments"], "nep": ["experiment=nep"]}.items():
        for system in ("ethanol", "water192", "si512"):
            found[f"{name}: energy and forces, {system}"] = functools.partial(single, system, overrides)
        found[f"{name}: update, batch 8"] = lambda name=name, overrides=overrides: make_update(8, name != "acsf", overrides)[0]
    return found


def yardstick() -> Callable[[], None]:
    """Fixed work."""
    left, right = torch.randn(512, 16, 32), torch.randn(512, 32, 24)
    index = torch.arange(512 * 16) % 512

    def work() -> None:
        product = torch.bmm(left, right)
        torch.zeros(512, 24).index_add_(0, index, torch.exp(-product.square()).view(-1, 24))

    return work


def measure() -> dict[str, float]:
    """Every figure in yardsticks."""
    figures = {}
    for name, make in cases().items():
        before = median_seconds(yardstick(), BUDGET_S / 6)
        seconds = median_seconds(make(), BUDGET_S)
        after = median_seconds(yardstick(), BUDGET_S / 6)
        figures[name] = round(seconds / statistics.mean([before, after]), 2)
    return figures


def processor() -> str:
    """The kind of processor, as the system calls it."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    """Measures, and compares or writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    asked, figures = parser.parse_args(), measure()
    of_all = json.loads(FIGURES.read_text())
    if asked.write:
        FIGURES.write_text(json.dumps({**of_all, processor(): figures}, indent=1) + "\n")
        return
    committed = of_all.get(processor()) or {name: max(own[name] for own in of_all.values()) for name in figures}
    print(f"compared with {processor() if processor() in of_all else 'the slowest of other processors'}")
    ratios = {name: figure / committed[name] for name, figure in figures.items()}
    for name, ratio in ratios.items():
        mark = " !" if ratio > LIMIT else ""
        print(f"{name:45s} {figures[name]:8.1f} yardsticks, committed {committed[name]:8.1f}, ratio {ratio:.2f}{mark}")
    sys.exit(max(ratios.values()) > LIMIT)


if __name__ == "__main__":
    main()
