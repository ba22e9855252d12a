"""Spec2MolForConditionalGeneration over an encoder-decoder: text alone, laid out as the released
GT4SD/multitask-text-and-chemistry-t5-*, and with soft tokens."""

import json

import pytest
import sentencepiece
import torch
from torch import nn
from transformers import AutoModelForSeq2SeqLM, AutoProcessor

from spec2mol import Spec2MolFeatureExtractor, Spec2MolForConditionalGeneration, Spec2MolProcessor
from spec2mol.processing_spec2mol import SMILES_CHARACTERS, load_tokenizer
from spec2mol.saving import save_for_hub
from tests import builders
from tests.text_models import t5, t5_tokenizer

QUESTIONS = ("Caption: C/C=C\\C", "Write a molecule", "Caption: C")
ANSWERS = ("an ester", "C/C=C\\Cl", "CC")


def conversations(*prefixes):
    prefixes = prefixes or ("", "", "")
    return [
        [{"role": "user", "content": prefix + question}, {"role": "assistant", "content": answer}]
        for prefix, question, answer in zip(prefixes, QUESTIONS, ANSWERS, strict=True)
    ]


def tensors(arrays):
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """Folder of a T5 and its tokenizer, as transformers saves them."""
    folder = tmp_path_factory.mktemp("t5")
    t5().save_pretrained(folder)
    t5_tokenizer().save_pretrained(folder)
    return folder


class TestTextAlone:
    @pytest.fixture(scope="class")
    @classmethod
    def parts(cls, released):
        model = Spec2MolForConditionalGeneration.from_pretrained_parts(None, str(released)).eval()
        return model, Spec2MolProcessor.from_pretrained_parts(None, str(released))

    @torch.no_grad()
    def test_a_released_model_loads_unchanged(self, parts, released):
        (model, processor), plain = parts, AutoModelForSeq2SeqLM.from_pretrained(released).eval()
        assert {name: tuple(w.shape) for name, w in model.language_model.state_dict().items()} == {
            name: tuple(w.shape) for name, w in plain.state_dict().items()
        }
        examples = tensors(processor.conversation_text(conversations()))
        ours, theirs = model(**examples), plain(**examples)
        assert torch.equal(ours.logits, theirs.logits) and torch.equal(ours.loss, theirs.loss)

    @pytest.mark.parametrize(
        "arguments", [{}, {"use_cache": False}, {"num_beams": 3, "num_return_sequences": 2}], ids=str
    )
    def test_it_generates_the_same(self, parts, released, arguments):
        (model, processor), plain = parts, AutoModelForSeq2SeqLM.from_pretrained(released).eval()
        prompts = tensors(processor.conversation_prompt(conversations()))
        expected = plain.generate(**prompts, max_new_tokens=10, **arguments)
        assert len({tuple(row.tolist()) for row in expected}) >= 2
        assert torch.equal(model.generate(**prompts, max_new_tokens=10, **arguments), expected)

    @torch.no_grad()
    def test_so_does_the_layout_of_the_first_releases(self, tmp_path):
        """Weights as torch saves them, and the tokenizer as SentencePiece does."""
        sentences = ["Caption the following SMILES: CC(=O)O", "The molecule is an ester of 1,2-ethanediol."] * 20
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_prefix=str(tmp_path / "spiece"),
            vocab_size=60,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            hard_vocab_limit=False,
            minloglevel=2,
        )
        names = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "tokenizer_class": "T5Tokenizer"}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(names | {"extra_ids": 100}))
        plain = t5(vocab_size=256)
        plain.config.save_pretrained(tmp_path)
        torch.save(plain.state_dict(), tmp_path / "pytorch_model.bin")

        model = Spec2MolForConditionalGeneration.from_pretrained_parts(None, str(tmp_path)).eval()
        processor = Spec2MolProcessor.from_pretrained_parts(None, str(tmp_path))
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spiece.model"))
        text = "The molecule is an ester"
        assert processor.tokenizer(text)["input_ids"] == [*pieces.encode(text), 1]
        examples = tensors(processor.conversation_text(conversations()))
        assert 2 not in examples["input_ids"][0]  # The backslash is known,
        assert examples["input_ids"].max() >= len(pieces)  # behind all pieces.
        assert torch.equal(model(**examples).logits, plain(**examples).logits)

    @torch.no_grad()
    def test_the_loss_does_not_depend_on_padding(self, parts):
        model, processor = parts
        examples = tensors(processor.conversation_text(conversations()))
        longer = dict(examples)
        for name, value in {"input_ids": 0, "attention_mask": 0, "labels": -100}.items():
            longer[name] = nn.functional.pad(examples[name], (0, 5), value=value)
        torch.testing.assert_close(model(**longer).loss, model(**examples).loss, atol=1e-5, rtol=0)
        alone = [tensors(processor.conversation_text([one])) for one in conversations()]
        counts = torch.tensor([(example["labels"] != -100).sum() for example in alone]).float()
        losses = torch.stack([model(**example).loss for example in alone])
        torch.testing.assert_close(model(**examples).loss, losses @ counts / counts.sum(), atol=1e-5, rtol=0)
        # A batch's share of the mean over all accumulated ones
        share = model(**examples, num_items_in_batch=2 * counts.sum()).loss
        torch.testing.assert_close(share, model(**examples).loss / 2, atol=1e-5, rtol=0)

    def test_labels_are_the_answer_and_its_end(self, parts):
        _, processor = parts
        text = processor.conversation_text(conversations())
        written = [row[row != -100] for row in text["labels"]]
        assert processor.decode_text(written) == list(ANSWERS)
        assert all(row[-1] == processor.tokenizer.eos_token_id for row in written)
        prompts = processor.conversation_prompt(conversations())
        assert (text["input_ids"] == prompts["input_ids"]).all()
        assert processor.decode_text(prompts["input_ids"]) == list(QUESTIONS)

    def test_every_smiles_character_survives(self, parts):
        """T5's vocabulary lacks some; they take ids that its embeddings have to spare."""
        model, processor = parts
        plain = t5_tokenizer()
        assert plain.unk_token_id in plain("\\")["input_ids"]
        ids = processor.tokenizer([SMILES_CHARACTERS])["input_ids"]
        assert plain.unk_token_id not in ids[0] and max(ids[0]) < model.config.text_config.vocab_size
        smiles = ["C/C=C\\C", "F/C(Cl)=C(\\Br)[C@@H](N)C(=O)[O-]", "C1=CC=CC=C1\\N=N\\C"]
        assert processor.decode_text(processor.tokenizer(smiles)["input_ids"]) == smiles

    @torch.no_grad()
    def test_it_saves_and_loads(self, parts, tmp_path):
        model, processor = parts
        save_for_hub(model, processor, tmp_path)
        loaded, info = AutoModelForSeq2SeqLM.from_pretrained(tmp_path, output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"]
        assert isinstance(loaded, Spec2MolForConditionalGeneration) and loaded.config.is_encoder_decoder
        again = AutoProcessor.from_pretrained(tmp_path)
        assert again.conversation_text(conversations())["input_ids"].tolist() == (
            processor.conversation_text(conversations())["input_ids"].tolist()
        )
        examples = tensors(again.conversation_text(conversations()))
        assert torch.equal(loaded.eval()(**examples).logits, model(**examples).logits)


class TestSoftTokens:
    @pytest.fixture(scope="class")
    @classmethod
    def processor(cls, released):
        tokenizer = load_tokenizer(str(released))
        features = Spec2MolFeatureExtractor(num_peaks=8)
        return Spec2MolProcessor(features, tokenizer, builders.NUM_QUERIES, is_encoder_decoder=True)

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, processor):
        return builders.model(
            text_config=t5().config.to_dict(),
            structure_config={"fingerprint_size": 64, "hidden_size": 16},
            soft_token_id=processor.tokenizer.mask_token_id,
        )

    @pytest.fixture
    def mixed(self, processor):
        """Of three rows the second is text alone."""
        prefixes = (processor.soft_tokens, "", processor.soft_tokens)
        spectra = builders.spectra()
        return conversations(*prefixes), [spectra[0], spectra[3]]

    @torch.no_grad()
    def test_rows_with_and_without_a_spectrum_share_a_batch(self, model, processor, mixed):
        texts, spectra = mixed
        features = processor.feature_extractor(spectra, return_tensors="pt")
        examples = tensors(processor.conversation_text(texts))
        together = model(**examples, **features).logits
        for row, index in enumerate((0, None, 1)):
            one = tensors(processor.conversation_text([texts[row]]))
            if index is not None:
                one |= processor.feature_extractor([spectra[index]], return_tensors="pt")
            alone = model(**one).logits[0]
            torch.testing.assert_close(together[row, : len(alone)], alone, atol=1e-4, rtol=0)

    def test_each_answer_belongs_to_its_prompt(self, model, processor, mixed):
        texts, spectra = mixed
        features = processor.feature_extractor(spectra, return_tensors="pt")
        prompts = tensors(processor.conversation_prompt(texts))
        arguments = {"num_beams": 2, "num_return_sequences": 2, "max_new_tokens": 8, "min_new_tokens": 8}
        together = model.generate(**prompts, **features, **arguments)
        for row, index in enumerate((0, None, 1)):
            one = tensors(processor.conversation_prompt([texts[row]]))
            if index is not None:
                one |= processor.feature_extractor([spectra[index]], return_tensors="pt")
            assert torch.equal(model.generate(**one, **arguments), together[2 * row : 2 * row + 2])

    def test_losses_of_text_and_structure_are_learned_together(self, model, processor, mixed):
        texts, spectra = mixed
        batch = tensors(processor.conversation_text(texts)) | dict(
            processor.feature_extractor(spectra, return_tensors="pt")
        )
        output = model(**batch, fingerprint=torch.zeros(2, 64), element_counts=torch.zeros(2, 13))
        torch.testing.assert_close(output.loss, output.language_loss + output.structure_loss)
        output.loss.backward()
        assert all(p.grad is not None for p in model.model.projector.language_projection.parameters())

    def test_a_wrong_number_of_placeholders_is_an_error(self, model, processor, mixed):
        texts, spectra = mixed
        features = processor.feature_extractor(spectra[:1], return_tensors="pt")
        with pytest.raises(ValueError, match=r"8 placeholders .* 1 x 4 soft tokens"):
            model(**tensors(processor.conversation_text(texts)), **features)
