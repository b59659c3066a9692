"""Data: where structures and labels come from, what is refused, and how they are divided.

A source is made (`ethanol_xtb`, `water_xtb`, `silicon_xtb`: geometries by seeded dynamics and displacement, labelled by the reference
engine) or read (`extxyz`: your file with labels; `unlabelled`: your geometries, labelled here). Units are eV, Å, eV/Å and eV/Å³ with
ASE's sign of stress. A new source is a subclass of `Source` and a YAML file; its split is a node of that file.
"""

from nnpx.data.reader import read
from nnpx.data.source import Gathered, Source

__all__ = ["Gathered", "Source", "read"]
