"""Known molecules and library spectra, ranked for a spectrum, from prepared, memory-mapped stores."""

from .molecules import MoleculeStore, build_molecule_store
from .ranking import RankedMolecule, rank_molecules
from .spectra import LibraryHit, SpectrumStore, build_spectrum_store

__all__ = [
    "LibraryHit",
    "MoleculeStore",
    "RankedMolecule",
    "SpectrumStore",
    "build_molecule_store",
    "build_spectrum_store",
    "rank_molecules",
]
