"""Units: eV, Å, amu and e inside; fs, K and GPa at the door, converted here and nowhere else.

The derived unit of time is Å √(amu/eV). Constants are CODATA 2018 (doi:10.1103/RevModPhys.93.025010), as in ASE.
"""

from typing import Final

#: one femtosecond in Å √(amu/eV)
fs: Final[float] = 0.09822694743391452
#: one kelvin in eV (Boltzmann's constant)
K: Final[float] = 8.617333262145e-05
#: one gigapascal in eV/Å³
GPa: Final[float] = 6.241509074460763e-03
#: one bohr in Å
bohr: Final[float] = 0.529177210903
#: e²/(4πε₀) in eV Å
coulomb: Final[float] = 14.399645478425667
#: one milli-electronvolt in eV
meV: Final[float] = 1e-3
