"""Spectra in, ranked molecules out: `pipeline("spectrum-to-molecule", model=NAME, trust_remote_code=True)`."""

import re
from pathlib import Path

from transformers import Pipeline
from transformers.utils import logging

from .generation_spec2mol import predict_molecules

# Files are read by spec2mol where it is installed, which says of every entry that is unusable why, else by matchms.
try:
    from spec2mol.spectra import load_inputs
except ImportError:
    load_inputs = None
try:
    import matchms.importing
except ImportError:
    matchms = None

logger = logging.get_logger(__name__)


class SpectrumToMoleculePipeline(Pipeline):
    """
    Ranked molecules for tandem mass spectra.

    Example:
        answer = pipeline("spectrum-to-molecule", model="org/name", trust_remote_code=True)
        answer({"mzs": [110.0713, 138.0662], "intensities": [0.2, 1.0], "precursor_mz": 195.0877, "adduct": "[M+H]+"})
        answer("spectra.mgf", top_k=3)
    """

    _load_processor = True
    _load_tokenizer = _load_feature_extractor = _load_image_processor = False  # The processor holds them.

    def __call__(self, inputs, batch_size: int | None = None, **parameters) -> list:
        """
        Args:
            inputs: a spectrum, as `Spec2MolFeatureExtractor` takes it; the path of a file of spectra (str or Path); or
                a list of either.
            batch_size: spectra at a time.
            parameters: of `predict_molecules`, such as `top_k`, `num_beams` and `constrain`.

        Returns:
            For a spectrum its answers, best first: dicts of `Candidate`'s fields. For a file a list of those of its
            spectra, for a list of inputs a list of what each of them gives. What could not be answered as asked has a
            line in the log.

        Raises:
            ImportError: a file, but neither spec2mol nor matchms to read it with.
            ValueError: something that is no spectrum.
        """
        # One dict, since transformers would go through a list one by one.
        inputs = {"inputs": inputs, "batch_size": batch_size or self._batch_size or 16}
        return super().__call__(inputs, **parameters)

    def _sanitize_parameters(self, **parameters):
        return {}, parameters, {}

    def preprocess(self, inputs):
        several = isinstance(inputs["inputs"], list)
        given = inputs["inputs"] if several else [inputs["inputs"]]
        groups = [read_spectra(one) if isinstance(one, str | Path) else one for one in given]
        return inputs | {"inputs": groups, "several": several}

    def _forward(self, inputs, **parameters):
        spectra = [s for group in inputs["inputs"] for s in (group if isinstance(group, list) else [group])]
        answers = predict_molecules(self.model, self.processor, spectra, batch_size=inputs["batch_size"], **parameters)
        found = []
        for number, candidates in enumerate(answers):
            if candidates.problem is not None:
                logger.warning("spectrum %d: %s", number, candidates.problem)
            found.append([candidate._asdict() for candidate in candidates])
        return inputs | {"answers": found}

    def postprocess(self, outputs):
        answers = iter(outputs["answers"])
        groups = [
            [next(answers) for _ in group] if isinstance(group, list) else next(answers) for group in outputs["inputs"]
        ]
        return groups if outputs["several"] else groups[0]


def read_spectra(path: str | Path) -> list:
    """The MS/MS spectra of a file."""
    if load_inputs is not None:
        return list(load_inputs([path]))
    if matchms is None:
        raise ImportError(f"to read {path}, pip install matchms; or give the spectra as dicts")
    return [_as_dict(spectrum) for spectrum in matchms.importing.load_spectra(str(path))]


def _as_dict(spectrum):
    energy = re.fullmatch(r"([\d.]+)\s*(?:eV)?", str(spectrum.get("collision_energy", "")).strip())
    known = {name: spectrum.get(name) for name in ("precursor_mz", "adduct", "instrument_type", "formula")}
    return known | {
        "mzs": spectrum.peaks.mz,
        "intensities": spectrum.peaks.intensities,
        "ion_mode": spectrum.get("ionmode"),
        "collision_energy": float(energy[1]) if energy else None,
    }


__all__ = ["SpectrumToMoleculePipeline"]
