from pathlib import Path

import matchms
import numpy as np
import pytest
import torch

from spec2mol import Spec2MolFeatureExtractor
from spec2mol.chemistry_spec2mol import ADDUCTS
from spec2mol.feature_extraction_spec2mol import CONDITIONS, ELEMENTS, INSTRUMENT_TYPES

FIXTURE = Path(__file__).parents[1] / "fixtures" / "dreams_tiny" / "reference.npz"
KNOWN = {
    "adduct": "[M+Na]+",
    "ion_mode": "positive",
    "collision_energy": 35.0,
    "instrument_type": "Orbitrap",
    "formula": "C8H10N4O2",
}


def spectrum(mzs=(60.5, 80.25, 100.0), intensities=(10.0, 40.0, 20.0), precursor_mz=150.0, **known):
    return {"mzs": list(mzs), "intensities": list(intensities), "precursor_mz": precursor_mz, **known}


def tokens(*spectra, **arguments):
    """Tokens of each spectrum without the padding, as lists of [m/z, intensity]."""
    features = Spec2MolFeatureExtractor(**arguments)(list(spectra))
    return [peaks[mask > 0].tolist() for peaks, mask in zip(features["peaks"], features["peaks_mask"], strict=True)]


def assert_same_features(actual, expected):
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


class TestPeaks:
    def test_equals_the_original(self):
        """Against what the original's preprocessing made of these raw spectra, for n = 60."""
        fixture = np.load(FIXTURE)
        ends = fixture["peak_counts"].cumsum()[:-1]
        raw = [np.split(fixture[name], ends) for name in ("raw_mz", "raw_intensity")]
        spectra = [spectrum(*pair) for pair in zip(*raw, fixture["precursor_mz"], strict=True)]
        features = Spec2MolFeatureExtractor(num_peaks=60)(spectra)
        length = features["peaks"].shape[1]
        np.testing.assert_array_equal(features["peaks"], fixture["inputs"][:, :length])
        assert not fixture["inputs"][:, length:].any()
        np.testing.assert_array_equal(features["peaks_mask"], fixture["inputs"][:, :length, 0] != 0)

    def test_precursor_then_peaks_relative_to_the_largest(self):
        assert tokens(spectrum()) == [[[150.0, pytest.approx(1.1)], [60.5, 0.25], [80.25, 1.0], [100.0, 0.5]]]

    def test_padded_to_the_longest(self):
        features = Spec2MolFeatureExtractor()([spectrum(), spectrum([70.0], [1.0])], return_tensors="pt")
        assert features["peaks"].shape == (2, 4, 2)
        assert features["peaks"].dtype == torch.float32
        assert features["peaks_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
        assert not features["peaks"][1, 2:].any()

    def test_one_peak(self):
        assert tokens(spectrum([70.0], [3e-9]))[0][1:] == [[70.0, 1.0]]

    def test_2000_peaks(self):
        rng = np.random.default_rng(0)
        mzs, intensities = np.sort(rng.uniform(50, 900, 2000)).astype(np.float32), rng.uniform(0, 1, 2000)
        kept = np.array(tokens(spectrum(mzs, intensities), num_peaks=100)[0][1:])
        assert kept.shape == (100, 2)
        assert (np.diff(kept[:, 0]) > 0).all()
        assert set(kept[:, 0]) == set(mzs[np.argsort(intensities)[-100:]].tolist())

    def test_unsorted(self):
        assert tokens(spectrum([100.0, 60.5, 80.25], [20.0, 10.0, 40.0])) == tokens(spectrum())

    def test_zero_intensities_are_dropped(self):
        assert tokens(spectrum([55.0, 60.5, 80.25, 100.0, 120.0], [0, 10, 40, 20, 0])) == tokens(spectrum())

    def test_duplicate_mz_stay(self):
        assert tokens(spectrum([80.0, 80.0], [1.0, 2.0]))[0][1:] == [[80.0, 0.5], [80.0, 1.0]]

    def test_of_equal_intensities_the_higher_mz_stay(self):
        assert tokens(spectrum([60.0, 70.0, 80.0], [1.0, 1.0, 1.0]), num_peaks=2)[0][1:] == [[70.0, 1.0], [80.0, 1.0]]

    def test_peaks_above_the_precursor_stay(self):
        assert tokens(spectrum([70.0, 400.0], [1.0, 1.0]))[0][1:] == [[70.0, 1.0], [400.0, 1.0]]

    @pytest.mark.parametrize("peaks", [([], []), ([70.0, 80.0], [0.0, 0.0])], ids=["none", "all zero"])
    def test_no_peaks_is_the_precursor_alone(self, peaks):
        assert tokens(spectrum(*peaks)) == [[[150.0, pytest.approx(1.1)]]]

    def test_no_spectra(self):
        features = Spec2MolFeatureExtractor()([])
        assert features["peaks"].shape == (0, 0, 2)
        assert features["condition_mask"].shape == (0, 6)


class TestErrorsNameTheSpectrum:
    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            (spectrum(mzs=[60.5, np.nan, 100.0]), "NaN or infinite"),
            (spectrum(intensities=[1.0, np.nan, 1.0]), "NaN or infinite"),
            (spectrum(intensities=[1.0, np.inf, 1.0]), "NaN or infinite"),
            (spectrum(mzs=[60.5, 80.0, 1e300]), "NaN or infinite"),
            (spectrum(mzs=[-60.5, 80.0, 100.0]), "m/z must be positive"),
            (spectrum(mzs=[0.0, 80.0, 100.0]), "m/z must be positive"),
            (spectrum(intensities=[1.0, -1.0, 1.0]), "intensities must not be negative"),
            (spectrum(mzs=[60.5, 80.0]), "2 m/z but 3 intensities"),
            ({"precursor_mz": 150.0}, "no mzs or no intensities"),
            (spectrum(precursor_mz=None), r"no usable precursor m/z \(got None\)"),
            (spectrum(precursor_mz=np.nan), "no usable precursor m/z"),
            (spectrum(precursor_mz=0.0), "no usable precursor m/z"),
            (spectrum(precursor_mz=-150.0), "no usable precursor m/z"),
            (spectrum(precursor_mz=np.inf), "no usable precursor m/z"),
            (spectrum(precursor_mz=1e300), "no usable precursor m/z"),
            (spectrum(precursor_mz="unknown"), "precursor_mz is 'unknown', not a number"),
            (spectrum(collision_energy="30 eV"), "collision_energy is '30 eV', not a number"),
            (spectrum(formula="caffeine"), "not a molecular formula"),
            (np.ones((5, 3)), r"expected an array \(peaks, 2\), got shape \(5, 3\)"),
        ],
        ids=str,
    )
    def test_of_a_spectrum(self, bad, message):
        with pytest.raises(ValueError, match=f"^spectrum 1: .*{message}"):
            Spec2MolFeatureExtractor()([spectrum(), bad])

    def test_as_many_precursors_as_arrays(self):
        with pytest.raises(ValueError, match="3 spectra but 2 precursor m/z"):
            Spec2MolFeatureExtractor()([np.ones((5, 2))] * 3, precursor_mz=[100.0, 200.0])


class TestKindsOfSpectra:
    def as_matchms(self, record):
        metadata = {name: value for name, value in record.items() if name not in ("mzs", "intensities")}
        return matchms.Spectrum(np.array(record["mzs"]), np.array(record["intensities"]), metadata)

    def test_matchms_equals_mapping(self):
        records = [spectrum(**KNOWN), spectrum([70.0], [1.0])]
        extractor = Spec2MolFeatureExtractor()
        assert_same_features(extractor([self.as_matchms(record) for record in records]), extractor(records))

    def test_array_equals_mapping(self):
        record = spectrum()
        array = np.array([record["mzs"], record["intensities"]]).T
        extractor = Spec2MolFeatureExtractor()
        assert_same_features(extractor([array, array], precursor_mz=[150.0, 150.0]), extractor([record, record]))
        assert_same_features(extractor([array, array], precursor_mz=150.0), extractor([record, record]))

    def test_one_spectrum_is_a_batch_of_one(self):
        record = spectrum(**KNOWN)
        array = np.array([record["mzs"], record["intensities"]]).T
        extractor = Spec2MolFeatureExtractor()
        assert_same_features(extractor(record), extractor([record]))
        assert_same_features(extractor(self.as_matchms(record)), extractor([record]))
        assert_same_features(extractor(array, precursor_mz=150.0), extractor([array], precursor_mz=[150.0]))

    def test_the_callers_spectrum_is_left_alone(self):
        record = spectrum() | {"mzs": np.array([100.0, 60.5]), "intensities": np.array([1.0, 2.0])}
        Spec2MolFeatureExtractor()(record)
        assert record["mzs"].tolist() == [100.0, 60.5]
        assert record["intensities"].tolist() == [1.0, 2.0]


class TestConditions:
    def test_all_known(self):
        features = Spec2MolFeatureExtractor()(spectrum(**KNOWN), return_tensors="pt")
        assert features["condition_ids"].tolist() == [
            [list(ADDUCTS).index("[M+Na]+") + 1, 1, INSTRUMENT_TYPES.index("Orbitrap") + 1]
        ]
        assert features["condition_values"].tolist() == [[150.0, 35.0]]
        counts = dict(zip(ELEMENTS, features["formula_counts"][0].tolist(), strict=True))
        assert {element: count for element, count in counts.items() if count} == {"C": 8, "H": 10, "N": 4, "O": 2}
        assert features["condition_mask"].tolist() == [[1] * 6]
        assert {name: tensor.dtype for name, tensor in features.items() if tensor.is_floating_point()} == {
            name: torch.float32 for name in ("peaks", "condition_values", "formula_counts")
        }

    @pytest.mark.parametrize("unknown", [{}, dict.fromkeys(KNOWN), dict.fromkeys(KNOWN, np.nan)], ids=str)
    def test_nothing_known_but_the_precursor(self, unknown):
        features = Spec2MolFeatureExtractor()(spectrum(**unknown))
        assert features["condition_mask"].tolist() == [[1, 0, 0, 0, 0, 0]]
        assert features["condition_values"].tolist() == [[150.0, 0.0]]
        assert not features["condition_ids"].any()
        assert not features["formula_counts"].any()

    @pytest.mark.parametrize("name", KNOWN)
    def test_each_has_its_own_place_in_the_mask(self, name):
        mask = Spec2MolFeatureExtractor()(spectrum(**{name: KNOWN[name]}))["condition_mask"][0]
        assert [CONDITIONS[i] for i in np.flatnonzero(mask)] == ["precursor_mz", name]

    @pytest.mark.parametrize(
        "unheard",
        [{"adduct": "[M+Xe]+"}, {"ion_mode": "sideways"}, {"instrument_type": "abacus"}, {"collision_energy": np.inf}],
        ids=str,
    )
    def test_outside_the_vocabulary_is_unknown(self, unheard):
        extractor = Spec2MolFeatureExtractor()
        assert_same_features(extractor(spectrum(**unheard)), extractor(spectrum()))

    def test_a_formula_with_a_foreign_element_is_unknown(self):
        extractor = Spec2MolFeatureExtractor(elements=["C", "H", "O"])
        assert_same_features(extractor(spectrum(formula="C2H6S")), extractor(spectrum()))
        assert extractor(spectrum(formula="C2H6O"))["formula_counts"].tolist() == [[2, 6, 1]]

    def test_each_row_has_its_own(self):
        features = Spec2MolFeatureExtractor()([spectrum(), spectrum(**KNOWN)])
        assert features["condition_mask"].tolist() == [[1, 0, 0, 0, 0, 0], [1] * 6]

    def test_left_out_on_request(self):
        assert list(Spec2MolFeatureExtractor(conditions=False)(spectrum(**KNOWN))) == ["peaks", "peaks_mask"]


class TestExplainedPeaks:
    CAFFEINE = {
        "mzs": [110.0713, 123.4567, 138.0662],  # C5H8N3+, nothing, C6H8N3O+
        "intensities": [0.2, 0.1, 1.0],
        "precursor_mz": 195.0877,
        "adduct": "[M+H]+",
        "formula": "C8H10N4O2",
    }

    def counts(self, **changes):
        extractor = Spec2MolFeatureExtractor(explain_ppm=10.0)
        return extractor([self.CAFFEINE | changes], return_tensors="np")["fragment_counts"][0]

    def test_counts_of_precursor_and_fragments(self):
        counts = self.counts()
        assert counts[:, :4].tolist() == [[8, 11, 4, 2], [5, 8, 3, 0], [0, 0, 0, 0], [6, 8, 3, 1]]  # C, H, N, O
        assert not counts[:, 4:].any()

    @pytest.mark.parametrize("formula", [None, "C8H10N4O2K"])
    def test_without_a_usable_formula_nothing_is_explained(self, formula):
        assert not self.counts(formula=formula).any()

    def test_wrong_formula_explains_less(self):
        assert not self.counts(formula="C15H14")[1:].any()

    def test_not_computed_by_default(self):
        assert "fragment_counts" not in Spec2MolFeatureExtractor()([self.CAFFEINE])


def test_vocabularies_travel_with_a_saved_extractor(tmp_path):
    """So that a model keeps its ids when a later version knows more adducts."""
    extractor = Spec2MolFeatureExtractor(
        num_peaks=2, precursor_intensity=2.0, adducts=["[M+Na]+"], instrument_types=["Orbitrap"], elements=["N", "C"]
    )
    extractor.save_pretrained(tmp_path)
    loaded = Spec2MolFeatureExtractor.from_pretrained(tmp_path)
    features = loaded(spectrum(**KNOWN))
    assert_same_features(features, extractor(spectrum(**KNOWN)))
    assert features["peaks"].shape == (1, 3, 2)
    assert features["peaks"][0, 0, 1] == 2.0
    assert features["condition_ids"].tolist() == [[1, 1, 1]]
