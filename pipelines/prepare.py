"""Prepares the data: checks them, finds duplicates, divides them, and writes what is known about them on a card."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from nnpx.config import fingerprint, instantiate
from nnpx.data.card import describe, remarks, rows
from nnpx.data.checks import check_elements, check_energies
from nnpx.data.duplicates import find_duplicates
from nnpx.data.frames import write
from nnpx.data.reader import read_all
from nnpx.data.source import NOT_STATED
from nnpx.data.split import PARTS
from nnpx.files import md5, read_json, write_json


def main(config: DictConfig, workspace: Path) -> None:
    """Reads data/labelled.extxyz and data/labels.json; writes data/prepared/{train,valid,test}.extxyz and card.json."""
    labelled, folder = workspace / "data" / "labelled.extxyz", workspace / "data" / "prepared"
    files, console = {name: folder / f"{name}.extxyz" for name in PARTS}, Console()
    stamp, checksum = fingerprint(config.data, config.seed), md5(labelled) if labelled.is_file() else ""
    known = read_json(folder / "card.json")
    if known.get("config") == stamp and known.get("source_md5") == checksum and _unchanged(files, known):
        write_json(folder / "card.json", known)
        console.print("prepare: data/prepared is up to date")
        for remark in known["remarks"]:
            console.print(f"prepare: {remark}", highlight=False, markup=False)
        return
    source, reading = instantiate(config.data), read_all(labelled)
    source.check(reading.structures, labelled.name, reading.frames)
    duplicates = find_duplicates(reading.structures, tolerance=source.near_duplicate)
    parts = source.split(reading.structures, duplicates, config.seed)
    chosen = {name: [reading.structures[index] for index in getattr(parts, name)] for name in PARTS}
    check_elements(chosen)
    check_energies(chosen)
    for name, path in files.items():
        write(path, chosen[name])
    labels = read_json(workspace / "data" / "labels.json")
    card = describe(chosen, files, duplicates, reading.isolated)
    card["level_of_theory"], card["n_failed"] = labels.get("level_of_theory", NOT_STATED), len(labels.get("failures", []))
    card["n_left_out"], card["remarks"] = len(parts.left_out), remarks(reading.structures, duplicates, reading.frames)
    write_json(folder / "card.json", {**card, "config": stamp, "source_md5": checksum})
    console.print(_table(card))


def _unchanged(files: dict[str, Path], known: dict[str, Any]) -> bool:
    return all(path.is_file() and md5(path) == known["md5"][name] for name, path in files.items())


def _table(card: dict[str, Any]) -> Table:
    table = Table(title=f"prepare: {card['level_of_theory']}", show_header=False)
    for name, value in rows(card).items():
        table.add_row(name, value)
    return table
