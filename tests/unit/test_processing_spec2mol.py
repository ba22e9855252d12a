import json

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, PreTrainedTokenizerFast

from spec2mol import Spec2MolFeatureExtractor, Spec2MolProcessor
from spec2mol.chemistry_spec2mol import SPECIAL_TOKENS, set_special_tokens
from tests import builders
from tests.builders import MOLECULES, NUM_QUERIES, spectra

PAD, START, END, SOFT, IGNORED = 1, 2, 3, 4, -100


@pytest.fixture(params=["1.x", "2.x"])
def processor(request):
    return builders.processor(request.param)


@pytest.fixture
def chemgpt(shared):
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(shared / "fixtures/chemgpt/tokenizer.json"))
    return Spec2MolProcessor(Spec2MolFeatureExtractor(), set_special_tokens(tokenizer), NUM_QUERIES)


def ids(processor, *symbols):
    return processor.tokenizer.convert_tokens_to_ids(list(symbols))


class TestCall:
    def test_spectra_with_molecules(self, processor):
        inputs = processor(spectra=spectra()[:2], molecules=["CCO", "CC"])
        c, o = ids(processor, "[C]", "[O]")
        assert inputs["input_ids"].tolist() == [
            [SOFT, SOFT, SOFT, SOFT, START, c, c, o, END],
            [SOFT, SOFT, SOFT, SOFT, START, c, c, END, PAD],
        ]
        assert inputs["attention_mask"].tolist() == [[1] * 9, [1] * 8 + [0]]
        assert inputs["labels"].tolist() == [[IGNORED] * 5 + [c, c, o, END], [IGNORED] * 5 + [c, c, END, IGNORED]]

    def test_spectra_alone(self, processor):
        inputs = processor(spectra=spectra())
        assert inputs["input_ids"].tolist() == [[SOFT] * NUM_QUERIES + [START]] * len(MOLECULES)
        assert inputs["attention_mask"].tolist() == [[1] * (NUM_QUERIES + 1)] * len(MOLECULES)
        assert "labels" not in inputs

    def test_molecules_alone(self, processor):
        inputs = processor(molecules=["CC", "CCO"])
        c, o = ids(processor, "[C]", "[O]")
        assert set(inputs) == {"molecule_ids", "molecule_mask"}
        assert inputs["molecule_ids"].tolist() == [[START, c, c, END, PAD], [START, c, c, o, END]]
        assert inputs["molecule_mask"].tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]

    def test_tensors_of_the_spectra_are_the_feature_extractors(self, processor):
        inputs, expected = processor(spectra=spectra()), processor.feature_extractor(spectra())
        assert set(inputs) == {*expected, "input_ids", "attention_mask"}
        for name, array in expected.items():
            np.testing.assert_array_equal(inputs[name], array)

    def test_one_of_each(self, processor):
        inputs = processor(spectra=spectra()[0], molecules="CCO", return_tensors="pt")
        batch = processor(spectra=spectra()[:1], molecules=["CCO"], return_tensors="pt")
        assert inputs.keys() == batch.keys()
        assert all(torch.equal(tensor, batch[name]) for name, tensor in inputs.items())

    def test_arrays_with_their_precursor(self, processor):
        array = np.array([[60.0, 1.0], [80.0, 0.5]])
        inputs = processor(spectra=[array], precursor_mz=100.0, return_tensors="pt")
        assert inputs["peaks"][0, :, 0].tolist() == [100, 60, 80]

    def test_tensor_types(self, processor):
        inputs = processor(spectra=spectra(), molecules=MOLECULES, return_tensors="pt")
        for name in ("input_ids", "attention_mask", "labels", "peaks_mask", "condition_ids", "condition_mask"):
            assert inputs[name].dtype == torch.int64, name
        for name in ("peaks", "condition_values", "formula_counts"):
            assert inputs[name].dtype == torch.float32, name

    def test_text_without_soft_tokens(self, processor):
        targets = [processor.encode_molecule(smiles) for smiles in ("CC", "CCO")]
        text = processor.training_text(targets, soft_tokens=False)
        c, o = ids(processor, "[C]", "[O]")
        assert text["input_ids"].tolist() == [[START, c, c, END, PAD], [START, c, c, o, END]]
        assert text["labels"].tolist() == [[IGNORED, c, c, END, IGNORED], [IGNORED, c, c, o, END]]


class TestErrors:
    def test_nothing_given(self, processor):
        with pytest.raises(ValueError, match="spectra, molecules or both"):
            processor()

    def test_numbers_differ(self, processor):
        with pytest.raises(ValueError, match="4 spectra but 2 molecules"):
            processor(spectra=spectra(), molecules=["CC", "CCO"])

    @pytest.mark.parametrize("smiles", ["C1CC", "not a molecule", "", "F[I](F)(F)(F)(F)(F)(F)F"])
    def test_the_molecule_is_named(self, processor, smiles):
        with pytest.raises(ValueError) as error:
            processor(molecules=["CC", smiles])
        assert repr(smiles) in str(error.value)

    def test_the_spectrum_is_named(self, processor):
        with pytest.raises(ValueError, match="spectrum 1: no usable precursor"):
            processor(spectra=[spectra()[0], spectra()[1] | {"precursor_mz": None}])


class TestDecode:
    @pytest.fixture
    def targets(self, processor):
        return [processor.encode_molecule(smiles) for smiles in MOLECULES]

    @pytest.fixture
    def canonical(self):
        return ["CCO", "CC(=O)[O-]", "Nc1ccccc1", "CCN(CC)CCS"]

    def test_targets(self, processor, targets, canonical):
        assert processor.decode_molecules(targets) == canonical

    def test_with_the_prompt_and_padding(self, processor, canonical):
        inputs = processor(spectra=spectra(), molecules=MOLECULES, return_tensors="pt")
        assert processor.decode_molecules(inputs["input_ids"]) == canonical

    def test_cut_short(self, processor):
        """A string that is not ended is a molecule as well."""
        assert processor.decode_molecules([ids(processor, "[C]", "[C]")]) == ["CC"]

    @pytest.mark.parametrize("junk", [[], [END], [PAD, PAD], [START, END], [SOFT] * NUM_QUERIES + [START]])
    def test_nothing(self, processor, junk):
        assert processor.decode_molecules([junk]) == [None]

    def test_ring_symbols_alone(self, processor):
        assert processor.decode_molecules([ids(processor, "[Ring1]", "[Ring2]")]) == [None]


class TestDialects:
    def test_the_tokenizer_tells(self, processor):
        symbols = processor.tokenizer.get_vocab()
        assert processor.dialect == ("1.x" if "[Branch1_2]" in symbols else "2.x")
        branch = {"1.x": "[Branch1_2]", "2.x": "[=Branch1]"}[processor.dialect]
        assert ids(processor, branch)[0] in processor.encode_molecule("CC(=O)[O-]")

    def test_chemgpt(self, chemgpt, shared):
        assert chemgpt.dialect == "1.x"
        golden = json.loads((shared / "fixtures/chemgpt/golden_ids.json").read_text())[:20]
        inputs = chemgpt(molecules=[row["smiles"] for row in golden])
        for row, tokens, mask in zip(golden, inputs["molecule_ids"], inputs["molecule_mask"], strict=True):
            assert tokens[mask == 1].tolist() == row["input_ids"]
        assert None not in chemgpt.decode_molecules(inputs["molecule_ids"])

    def test_chemgpt_junk(self, chemgpt):
        """It has pieces of symbols in its vocabulary."""
        pieces = [token for token in chemgpt.tokenizer.get_vocab() if not token.startswith("[")][:3]
        assert chemgpt.decode_molecules([ids(chemgpt, *pieces)]) == [None]


class TestSaveAndLoad:
    def assert_same(self, loaded, processor):
        assert isinstance(loaded, Spec2MolProcessor)
        assert loaded.num_query_tokens == processor.num_query_tokens
        assert loaded.dialect == processor.dialect
        assert loaded.tokenizer.get_vocab() == processor.tokenizer.get_vocab()
        for name, token in SPECIAL_TOKENS.items():
            assert getattr(loaded.tokenizer, name) == token
        assert loaded.feature_extractor.to_dict() == processor.feature_extractor.to_dict()
        smiles = ["CCO", "CC(=O)[O-]"]
        expected = processor(spectra=spectra()[:2], molecules=smiles, return_tensors="pt")
        ours = loaded(spectra=spectra()[:2], molecules=smiles, return_tensors="pt")
        assert all(torch.equal(tensor, ours[name]) for name, tensor in expected.items())
        assert loaded.decode_molecules(ours["input_ids"]) == smiles

    @pytest.mark.parametrize("with_config", [False, True], ids=["alone", "beside-a-model"])
    @pytest.mark.parametrize("loader", [AutoProcessor, Spec2MolProcessor])
    def test_own_tokenizer(self, processor, tmp_path, loader, with_config):
        if with_config:  # gpt_neo is in it, for which AutoTokenizer would make a GPT-2 tokenizer.
            builders.config().save_pretrained(tmp_path)
        elif loader is AutoProcessor:
            Spec2MolProcessor.register_for_auto_class()
        processor.save_pretrained(tmp_path)
        self.assert_same(loader.from_pretrained(tmp_path), processor)

    def test_chemgpt(self, chemgpt, tmp_path):
        builders.config().save_pretrained(tmp_path)
        chemgpt.save_pretrained(tmp_path)
        self.assert_same(AutoProcessor.from_pretrained(tmp_path), chemgpt)

    def test_vocabularies_travel_along(self, tmp_path):
        """A later version may know more adducts; a saved model keeps its own."""
        feature_extractor = Spec2MolFeatureExtractor(num_peaks=5, adducts=["[M+Na]+", "[M+H]+"])
        Spec2MolProcessor(feature_extractor, builders.tokenizer(), NUM_QUERIES).save_pretrained(tmp_path)
        loaded = Spec2MolProcessor.from_pretrained(tmp_path)
        assert loaded.feature_extractor.num_peaks == 5
        assert loaded(spectra=builders.spectrum(adduct="[M+H]+"))["condition_ids"][0, 0] == 2


def test_an_unknown_symbol_is_no_molecule(processor):
    ids = processor.encode_molecule("CCO")
    ids[2] = processor.tokenizer.unk_token_id
    assert processor.decode_molecules([ids]) == [None]


def test_atoms_outside_the_vocabulary_are_an_error(processor):
    with pytest.raises(ValueError, match="atoms that the vocabulary lacks"):
        processor.encode_molecule("C[Si](C)C")
