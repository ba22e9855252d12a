import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import GPTNeoConfig, GPTNeoForCausalLM, Trainer, TrainingArguments

from spec2mol import (
    DreamsForPreTraining,
    Spec2MolForConditionalGeneration,
    Spec2MolForPreTraining,
    Spec2MolModel,
    Spec2MolProcessor,
)
from spec2mol.cli.convert_dreams import convert_dreams
from spec2mol.modeling_spec2mol import EncoderOutput
from tests import builders
from tests.builders import MOLECULES, NUM_QUERIES, spectra

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture(scope="module")
def processor():
    return builders.processor()


@pytest.fixture
def model():
    return builders.model()


@pytest.fixture
def prompts(processor):
    return processor(spectra=spectra(), return_tensors="pt")


@pytest.fixture
def examples(processor):
    return processor(spectra=spectra(), molecules=MOLECULES, return_tensors="pt")


@pytest.fixture
def pairs(processor):
    """What stage 1 reads."""
    return {
        **processor.feature_extractor(spectra(), return_tensors="pt"),
        **processor(molecules=MOLECULES, return_tensors="pt"),
    }


def assert_same(ours, theirs, tolerance=1e-5):
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)


def assert_diverse(generated):
    """Answers that all are alike would prove little."""
    assert len({tuple(row.tolist()) for row in generated}) == len(MOLECULES)
    assert len(set((generated == 1).sum(1).tolist())) > 1  # of different length


def rows(batch, *indices):
    return {name: tensor[list(indices)] for name, tensor in batch.items()}


def padded(inputs, width=3):
    """The same with more padding on peaks and text."""
    pad = nn.functional.pad
    text = {"input_ids": 1, "attention_mask": 0, "labels": -100, "molecule_ids": 1, "molecule_mask": 0}
    values = {"peaks_mask": 0} | text
    more = {name: pad(inputs[name], (0, width), value=value) for name, value in values.items() if name in inputs}
    return {**inputs, **more, "peaks": pad(inputs["peaks"], (0, 0, 0, width))}


class TestPaddingAndBatching:
    """No output depends on what else is in the batch, whether the encoder reads its padding (as DreaMS) or not."""

    @pytest.fixture(params=[True, False], ids=["attend_to_padding", "hide_padding"])
    def model(self, request):
        return builders.model(encoder={"attend_to_padding": request.param})

    @torch.no_grad()
    def test_soft_tokens(self, model, prompts):
        expected = model.model(**prompts).soft_tokens
        assert_same(model.model(**padded(prompts)).soft_tokens, expected)
        for i in range(len(expected)):
            alone = builders.processor()(spectra=spectra()[i], return_tensors="pt")
            assert_same(model.model(**alone).soft_tokens, expected[i : i + 1])

    @torch.no_grad()
    def test_logits_and_loss(self, model, processor, examples):
        together = model(**examples)
        longer = model(**padded(examples))
        real = examples["attention_mask"].bool()
        assert_same(longer.logits[:, : real.shape[1]][real], together.logits[real])
        assert_same(longer.loss, together.loss)
        losses, weights = [], []
        for i, (spectrum, molecule) in enumerate(zip(spectra(), MOLECULES, strict=True)):
            alone = processor(spectra=spectrum, molecules=molecule, return_tensors="pt")
            output = model(**alone)
            assert_same(output.logits[0], together.logits[i][real[i]])
            losses.append(output.loss)
            weights.append((alone["labels"] != -100).sum())
        assert_same(torch.dot(torch.stack(losses), torch.stack(weights).float()) / sum(weights), together.loss)

    @torch.no_grad()
    def test_scores(self, model, processor, prompts):
        molecules = processor(molecules=MOLECULES, return_tensors="pt")
        scores = model.score(prompts, molecules)
        assert scores.shape == (len(spectra()), len(MOLECULES))
        assert_same(model.score(padded(prompts), molecules), scores, 1e-4)  # divided by a temperature of 0.07
        for i, spectrum in enumerate(spectra()):
            for j, molecule in enumerate(MOLECULES):
                alone = model.score(
                    processor(spectra=spectrum, return_tensors="pt"),
                    processor(molecules=molecule, return_tensors="pt"),
                )
                assert_same(alone, scores[i : i + 1, j : j + 1], 1e-4)

    def test_generation(self, model, processor, prompts):
        together = model.generate(**prompts, max_new_tokens=12)
        assert_diverse(together)
        for i, spectrum in enumerate(spectra()):
            alone = model.generate(**processor(spectra=spectrum, return_tensors="pt"), max_new_tokens=12)
            assert torch.equal(alone[0], together[i, : alone.shape[1]])
            assert (together[i, alone.shape[1] :] == processor.tokenizer.pad_token_id).all()


class TestLeftPadding:
    @pytest.fixture
    def padded_prompts(self, prompts):
        return {
            **prompts,
            "input_ids": nn.functional.pad(prompts["input_ids"], (3, 0), value=1),
            "attention_mask": nn.functional.pad(prompts["attention_mask"], (3, 0), value=0),
        }

    @torch.no_grad()
    def test_logits(self, model, prompts, padded_prompts):
        assert_same(model(**padded_prompts).logits[:, 3:], model(**prompts).logits)

    def test_prompts_of_different_length(self, model, processor, prompts):
        """A longer prompt, one that starts a molecule, beside a shorter one."""
        short, long = rows(prompts, 0), rows(prompts, 1)
        start = torch.tensor([[processor.tokenizer.convert_tokens_to_ids("[C]")] * 2])
        long["input_ids"] = torch.cat([long["input_ids"], start], 1)
        long["attention_mask"] = torch.ones_like(long["input_ids"])
        mixed = {
            **rows(prompts, 0, 1),
            "input_ids": torch.cat([nn.functional.pad(short["input_ids"], (2, 0), value=1), long["input_ids"]]),
            "attention_mask": torch.cat(
                [nn.functional.pad(short["attention_mask"], (2, 0), value=0), long["attention_mask"]]
            ),
        }
        ours = model.generate(**mixed, max_new_tokens=10, min_new_tokens=10)
        assert torch.equal(ours[0, 2:], model.generate(**short, max_new_tokens=10, min_new_tokens=10)[0])
        assert torch.equal(ours[1], model.generate(**long, max_new_tokens=10, min_new_tokens=10)[0])


class TestPlaceholders:
    @pytest.mark.parametrize("number", [NUM_QUERIES - 1, NUM_QUERIES + 1])
    def test_a_wrong_number_is_an_error_that_states_both(self, model, prompts, number):
        ids = torch.tensor([[4] * number + [2]] * len(MOLECULES))
        with pytest.raises(ValueError, match=rf"\b{4 * number} placeholders .*\b4 x {NUM_QUERIES} soft tokens"):
            model(**{**prompts, "input_ids": ids, "attention_mask": torch.ones_like(ids)})

    @torch.no_grad()
    def test_soft_tokens_stand_in_their_places(self, model, prompts):
        seen = []
        model.language_model.register_forward_pre_hook(
            lambda module, args, kwargs: seen.append(kwargs["inputs_embeds"]), with_kwargs=True
        )
        model(**prompts)
        assert torch.equal(seen[0][:, :NUM_QUERIES], model.model(**prompts).soft_tokens)
        assert torch.equal(
            seen[0][:, NUM_QUERIES:], model.get_input_embeddings()(prompts["input_ids"][:, NUM_QUERIES:])
        )


class TestGenerate:
    def greedy(self, model, prompts, steps):
        """Without cache, and without anything of transformers' generation."""
        ids, mask = prompts["input_ids"], prompts["attention_mask"]
        query = builders.spectrum_tensors(model.model, prompts)
        ended = torch.zeros(len(ids), dtype=torch.bool)
        for _ in range(steps):
            logits = model(input_ids=ids, attention_mask=mask, **query).logits[:, -1]
            logits[:, model.config.soft_token_id] = -torch.inf
            tokens = logits.argmax(-1).masked_fill(ended, 1)
            ids = torch.cat([ids, tokens[:, None]], 1)
            mask = torch.cat([mask, (~ended).long()[:, None]], 1)
            ended |= tokens == 3
        return ids

    @pytest.mark.parametrize("use_cache", [True, False])
    @torch.no_grad()
    def test_greedy_is_the_argmax_of_each_step(self, model, prompts, use_cache):
        ours = model.generate(**prompts, max_new_tokens=12, use_cache=use_cache)
        assert_diverse(ours)
        assert torch.equal(ours, self.greedy(model, prompts, 12)[:, : ours.shape[1]])

    @pytest.mark.parametrize(
        ("arguments", "answers"),
        [
            ({}, 1),
            ({"use_cache": False}, 1),
            ({"num_beams": 3}, 1),
            ({"num_beams": 4, "num_return_sequences": 3}, 3),
            ({"num_beams": 3, "num_return_sequences": 3, "use_cache": False}, 3),
            ({"do_sample": True, "num_return_sequences": 5}, 5),
        ],
    )
    def test_each_spectrum_is_encoded_once(self, model, prompts, arguments, answers):
        batches = []
        model.model.encoder.register_forward_hook(
            lambda module, args, kwargs, output: batches.append(len(kwargs["peaks"])), with_kwargs=True
        )
        ids = model.generate(**prompts, max_new_tokens=8, **arguments)
        assert batches == [len(MOLECULES)]
        assert len(ids) == answers * len(MOLECULES) and ids.shape[1] <= NUM_QUERIES + 1 + 8
        assert torch.equal(ids[:, : NUM_QUERIES + 1], prompts["input_ids"].repeat_interleave(answers, dim=0))

    def test_beams_belong_to_their_spectrum(self, model, prompts):
        arguments = {"num_beams": 3, "num_return_sequences": 3, "max_new_tokens": 8, "min_new_tokens": 8}
        together = model.generate(**prompts, **arguments)
        for i in range(len(MOLECULES)):
            assert torch.equal(model.generate(**rows(prompts, i), **arguments), together[3 * i : 3 * i + 3])

    def test_prompt_may_be_positional_and_without_mask(self, model, prompts):
        expected = model.generate(**prompts, max_new_tokens=8)
        query = builders.spectrum_tensors(model.model, prompts)
        assert torch.equal(model.generate(prompts["input_ids"], **query, max_new_tokens=8), expected)
        assert torch.equal(model.generate(input_ids=prompts["input_ids"], **query, max_new_tokens=8), expected)

    @pytest.mark.parametrize("use_cache", [True, False])
    def test_placeholders_are_never_written(self, model, prompts, use_cache):
        embeddings = model.get_input_embeddings().weight
        with torch.no_grad():  # The token that a plain argmax would choose everywhere
            model.language_model.transformer.ln_f.weight.zero_()
            model.language_model.transformer.ln_f.bias.copy_(embeddings[4])
        assert (model(**prompts).logits.argmax(-1) == 4).all()
        ids = model.generate(**prompts, max_new_tokens=4, use_cache=use_cache)
        assert (ids[:, NUM_QUERIES:] != 4).all()


class TestOverfit:
    """Spectra that differ in nothing but their peaks."""

    @pytest.fixture(scope="class")
    @classmethod
    def spectra(cls):
        return [builders.spectrum(seed) for seed in range(len(MOLECULES))]

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, spectra, processor):
        model = builders.model()
        examples = processor(spectra=spectra, molecules=MOLECULES, return_tensors="pt")
        assert builders.train(model, examples, steps=200, learning_rate=1e-3)[-1] < 0.1
        return model

    def answers(self, model, processor, spectra):
        ids = model.generate(**processor(spectra=spectra, return_tensors="pt"), max_new_tokens=30)
        return processor.decode_molecules(ids)

    def test_the_model_reads_its_spectra(self, model, processor, spectra):
        expected = processor.decode_molecules([processor.encode_molecule(smiles) for smiles in MOLECULES])
        assert self.answers(model, processor, spectra) == expected
        assert None not in expected and len(set(expected)) == len(MOLECULES)

    def test_swapping_spectra_swaps_answers(self, model, processor, spectra):
        answers = self.answers(model, processor, spectra)
        swapped = self.answers(model, processor, [spectra[i] for i in (1, 0, 3, 2)])
        assert swapped == [answers[i] for i in (1, 0, 3, 2)]


class TestPreTraining:
    @pytest.fixture
    def model(self):
        return builders.model(Spec2MolForPreTraining)

    @torch.no_grad()
    def test_contrast_loss(self, model, pairs):
        """Symmetric cross-entropy; spectra of one molecule share the target, and 0.1 of it is spread over all."""
        identity = torch.tensor([7, 7, 9, 8])
        features = builders.spectrum_tensors(model.model, pairs)
        spectrum_features = model.model.get_spectrum_features(**features).double()
        molecules = model.model.get_molecule_features(pairs["molecule_ids"], pairs["molecule_mask"]).double()
        size, temperature = len(identity), 0.07
        expected = 0.0
        for i in range(size):
            cosines = {
                "molecules": [(spectrum_features[i] @ molecules[j]).max() for j in range(size)],
                "spectra": [(spectrum_features[j] @ molecules[i]).max() for j in range(size)],
            }
            for row in cosines.values():
                log_p = (torch.stack(row) / temperature).log_softmax(0)
                positives = [j for j in range(size) if identity[j] == identity[i]]
                for j in range(size):
                    target = 0.9 * (j in positives) / len(positives) + 0.1 / size
                    expected -= target * log_p[j] / size / 2
        output = model(**pairs, identity=identity)
        assert_same(output.contrast_loss.double(), expected, 1e-4)
        assert_same(output.similarity[0, 1].double(), (spectrum_features[0] @ molecules[1]).max())

    @torch.no_grad()
    def test_matching_loss(self, model, pairs):
        """With two pairs the wrong molecule and the wrong spectrum of each are certain."""
        two = rows(pairs, 0, 1)
        encoded = model.model.encode(**two)
        expected = 0.0
        for i, j, label in [([0, 1], [0, 1], 1), ([0, 1], [1, 0], 0), ([1, 0], [0, 1], 0)]:
            pairs = EncoderOutput(
                last_hidden_state=encoded.last_hidden_state[i], attention_mask=encoded.attention_mask[i]
            )
            logits = model.model.projector.matching_logits(pairs, two["molecule_ids"][j], two["molecule_mask"][j])
            expected -= logits.log_softmax(-1)[:, label].sum() / 6
        assert_same(model(**two).matching_loss, expected)

    @torch.no_grad()
    def test_generation_loss(self, model, pairs):
        """Mean over all tokens but the first of each molecule; padding does not count."""
        encoded = model.model.encode(**pairs)
        logits = model.model.projector.generation_logits(encoded, pairs["molecule_ids"], pairs["molecule_mask"])
        terms = [
            -logits[i, t - 1].log_softmax(-1)[pairs["molecule_ids"][i, t]]
            for i in range(len(logits))
            for t in range(1, pairs["molecule_mask"][i].sum())
        ]
        assert len(terms) < logits[:, 1:, 0].numel()
        assert_same(model(**pairs).generation_loss, torch.stack(terms).mean())

    @torch.no_grad()
    def test_loss_is_the_sum_of_its_parts(self, model, pairs):
        output = model(**pairs)
        assert_same(output.loss, output.contrast_loss + output.matching_loss + output.generation_loss)
        assert [x.ndim for x in model(**pairs, return_dict=False)] == [0, 0, 0, 0, 2]

    @torch.no_grad()
    def test_padding_changes_nothing(self, model, pairs):
        two = rows(pairs, 0, 1)  # No chance in the choice of negatives
        longer, expected = model(**padded(two)), model(**two)
        for name in ("contrast_loss", "matching_loss", "generation_loss", "similarity"):
            assert_same(longer[name], expected[name], 1e-4)

    def test_all_of_one_molecule(self, model, pairs):
        """Nothing to be told apart: the losses are still defined."""
        for batch, identity in ((rows(pairs, 0), None), (rows(pairs, 0, 1, 2), torch.tensor([5, 5, 5]))):
            output = model(**batch, identity=identity)
            output.loss.backward()
            assert output.loss.isfinite()
        assert_same(model(**rows(pairs, 0)).contrast_loss, torch.tensor(0.0))

    def drawn(self, model, monkeypatch, call):
        """(spectrum, molecule) of the wrong pairs of one `call`."""
        projector = model.model.projector
        states, ids = [], []
        original = projector.matching_logits

        def spy(encoded, molecule_ids, molecule_mask):
            states.append(encoded.last_hidden_state)
            ids.append(molecule_ids)
            return original(encoded, molecule_ids, molecule_mask)

        monkeypatch.setattr(projector, "matching_logits", spy)
        call()
        monkeypatch.undo()
        size = len(MOLECULES)
        spectra = [next(i for i in range(size) if torch.equal(row, states[0][i])) for row in states[0]]
        molecules = [next(i for i in range(size) if torch.equal(row, ids[0][i])) for row in ids[0]]
        assert spectra[:size] == molecules[:size] == list(range(size))
        return list(zip(spectra[size:], molecules[size:], strict=True))

    @torch.no_grad()
    def test_negatives_are_never_of_the_same_molecule(self, model, pairs, monkeypatch):
        identity = torch.tensor([1, 2, 1, 1])
        wrong = {
            pair
            for _ in range(30)
            for pair in self.drawn(model, monkeypatch, lambda: model(**pairs, identity=identity))
        }
        assert wrong == {(i, j) for i in range(4) for j in range(4) if identity[i] != identity[j]}

    @torch.no_grad()
    def test_similar_negatives_are_drawn_more_often(self, model, pairs, monkeypatch):
        encoded = model.model.encode(**pairs)
        logits = torch.zeros(4, 4)
        nearest = {0: 2, 1: 3, 2: 1, 3: 0}
        for i, j in nearest.items():
            logits[i, j] = 30.0
        pairs_drawn = self.drawn(
            model,
            monkeypatch,
            lambda: model._matching_loss(
                encoded, pairs["molecule_ids"], pairs["molecule_mask"], logits, torch.eye(4, dtype=torch.bool)
            ),
        )
        assert pairs_drawn[:4] == list(nearest.items())  # a wrong molecule for each spectrum,
        assert sorted(pairs_drawn[4:]) == sorted(nearest.items())  # a wrong spectrum for each molecule

    @pytest.mark.parametrize(("before", "after"), [(-0.2, 0.001), (0.07, 0.07), (3.0, 0.5)])
    def test_temperature_stays_where_it_makes_sense(self, model, pairs, before, after):
        temperature = model.model.projector.temperature
        temperature.data.fill_(before)
        model.train()(**pairs).loss.backward()
        assert temperature.item() == pytest.approx(after)
        assert temperature.grad is not None and temperature.grad.isfinite()

    def test_everything_but_the_way_to_the_language_model_is_trained(self, model, pairs):
        model(**pairs).loss.backward()
        idle = {name for name, parameter in model.named_parameters() if parameter.grad is None}
        assert idle == {f"model.projector.language_projection.{kind}" for kind in ("weight", "bias")}

    def test_loss_falls_and_right_pairs_score_best(self, model, pairs, processor):
        losses = builders.train(model, pairs, steps=40, learning_rate=3e-3)
        assert losses[-1] < losses[0] / 2
        with torch.no_grad():
            scores = model.model.score(pairs, pairs)
        assert scores.argmax(1).tolist() == scores.argmax(0).tolist() == [0, 1, 2, 3]


class TestOneSetOfWeights:
    @pytest.mark.parametrize("cls", [Spec2MolModel, Spec2MolForPreTraining])
    def test_generating_folder_gives_the_other_models(self, model, cls, tmp_path):
        model.save_pretrained(tmp_path)
        loaded, info = cls.from_pretrained(tmp_path, output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
        base = loaded if cls is Spec2MolModel else loaded.model
        expected = model.model.state_dict()
        assert base.state_dict().keys() == expected.keys()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in base.state_dict().items())

    @pytest.mark.parametrize("cls", [Spec2MolModel, Spec2MolForPreTraining])
    def test_stage_1_folder_lacks_only_the_language_model(self, cls, tmp_path):
        first = builders.model(cls)
        first.save_pretrained(tmp_path)
        loaded, info = Spec2MolForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
        assert info["missing_keys"] and all(name.startswith("language_model.") for name in info["missing_keys"])
        assert not info["unexpected_keys"] and not info["mismatched_keys"]
        expected = getattr(first, "model", first).state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.model.state_dict().items())

    @torch.no_grad()
    def test_reloaded_model_is_the_same(self, model, examples, tmp_path):
        model.save_pretrained(tmp_path)
        loaded = Spec2MolForConditionalGeneration.from_pretrained(tmp_path)
        assert torch.equal(loaded(**examples).logits, model(**examples).logits)
        assert loaded.generation_config.suppress_tokens == [4]

    def test_tied_weights_stay_tied(self, model, tmp_path):
        model.save_pretrained(tmp_path)
        loaded, info = Spec2MolForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
        assert not info["missing_keys"]
        assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight
        assert torch.equal(loaded.get_input_embeddings().weight, model.get_input_embeddings().weight)

    def test_outputs_as_tuples(self, model, prompts):
        output = model.model(**prompts, output_hidden_states=True)
        assert len(output.hidden_states) == 1 + model.config.encoder_config.num_hidden_layers
        expected = output.to_tuple()
        for ours, theirs in zip(
            model.model(**prompts, output_hidden_states=True, return_dict=False), expected, strict=True
        ):
            torch.testing.assert_close(ours, theirs)


class TestTraining:
    @pytest.mark.parametrize("cls", [Spec2MolForPreTraining, Spec2MolForConditionalGeneration])
    def test_gradient_checkpointing_changes_no_gradient(self, cls, examples, pairs):
        inputs = examples if cls is Spec2MolForConditionalGeneration else rows(pairs, 0, 1)

        def gradients(checkpointing):
            model = builders.model(cls).train()
            if checkpointing:
                model.gradient_checkpointing_enable()
                assert sum(getattr(module, "gradient_checkpointing", False) for module in model.modules()) >= 5
            model(**inputs).loss.backward()
            return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

        expected, ours = gradients(False), gradients(True)
        assert ours.keys() == expected.keys()
        for name, gradient in expected.items():
            assert_same(ours[name], gradient)

    @pytest.mark.parametrize("cls", [Spec2MolForPreTraining, Spec2MolForConditionalGeneration])
    def test_bfloat16(self, cls, examples, pairs):
        inputs = examples if cls is Spec2MolForConditionalGeneration else rows(pairs, 0, 1)
        model = builders.model(cls)
        expected = model(**inputs).loss.item()
        with torch.autocast("cpu", torch.bfloat16):
            assert model(**inputs).loss.item() == pytest.approx(expected, rel=0.05)
        model.to(torch.bfloat16)
        loss = model(**inputs).loss
        loss.backward()
        assert loss.item() == pytest.approx(expected, rel=0.05)
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)

    def test_bfloat16_generates(self, model, prompts):
        ids = model.to(torch.bfloat16).generate(**prompts, max_new_tokens=4, num_beams=2)
        assert len(ids) == len(MOLECULES)

    def test_lora_on_the_language_model(self, model, examples, tmp_path):
        with torch.no_grad():
            before = model(**examples).logits
        adapted = get_peft_model(model, LoraConfig(r=2, target_modules=r".*language_model.*\.(q_proj|v_proj)"))
        trained = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
        assert trained and all("language_model" in name and "lora_" in name for name in trained)
        builders.train(adapted, examples, steps=2, learning_rate=0.05)
        with torch.no_grad():
            after = adapted(**examples).logits
        assert (after - before).abs().max() > 1e-3

        adapted.save_pretrained(tmp_path)
        loaded = PeftModel.from_pretrained(builders.model(), tmp_path).eval()
        with torch.no_grad():
            assert torch.equal(loaded(**examples).logits, after)
        prompt = {name: tensor[:, : NUM_QUERIES + 1] for name, tensor in examples.items() if "ids" in name}
        prompt |= {"attention_mask": examples["attention_mask"][:, : NUM_QUERIES + 1]}
        prompt |= builders.spectrum_tensors(model.model, examples)
        assert torch.equal(loaded.generate(**prompt, max_new_tokens=5), adapted.generate(**prompt, max_new_tokens=5))

    @pytest.mark.parametrize("cls", [Spec2MolForPreTraining, Spec2MolForConditionalGeneration])
    def test_accumulated_batches_are_one_large_batch(self, cls, processor, tmp_path):
        """Targets of different length: the mean over tokens is that of all of them. The losses of stage 1 are means
        over a batch; here every batch is the same."""
        generating = cls is Spec2MolForConditionalGeneration
        data = [{"spectra": s, "molecules": m} for s, m in zip(spectra(), MOLECULES, strict=True)]
        if not generating:
            data = data[:1] * 4

        def collate(batch):
            columns = {name: [row[name] for row in batch] for name in ("spectra", "molecules")}
            inputs = processor(**columns, return_tensors="pt")
            if not generating:
                inputs |= processor(molecules=columns["molecules"][:1], return_tensors="pt")
                inputs = {name: tensor[:1] for name, tensor in inputs.items()}
            return inputs

        def weights(batch_size, accumulation):
            arguments = TrainingArguments(
                output_dir=tmp_path,
                per_device_train_batch_size=batch_size,
                gradient_accumulation_steps=accumulation,
                max_steps=2,
                optim="sgd",
                learning_rate=0.05,
                lr_scheduler_type="constant",
                max_grad_norm=0,
                remove_unused_columns=False,
                use_cpu=True,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            )
            model = builders.model(cls)
            Trainer(model, arguments, train_dataset=data, data_collator=collate).train()
            return model.state_dict()

        before, once, accumulated = builders.model(cls).state_dict(), weights(4, 1), weights(2, 2)
        assert any((once[name] - tensor).abs().max() > 1e-4 for name, tensor in before.items())
        for name, tensor in once.items():
            assert_same(accumulated[name], tensor)


def test_the_structure_loss_is_shared_among_accumulated_batches_as_the_language_loss_is(processor):
    model = builders.model(structure_config={"fingerprint_size": 8, "hidden_size": 16})
    inputs = processor(spectra=spectra(), molecules=MOLECULES, return_tensors="pt")
    inputs |= {"fingerprint": torch.eye(4, 8), "element_counts": torch.ones(4, 13)}
    alone = model(**inputs)
    num_items = (inputs["labels"] != -100).sum()
    assert_same(model(**inputs, num_items_in_batch=num_items).loss, alone.loss)
    assert_same(model(**inputs, num_items_in_batch=4 * num_items).loss, alone.loss / 4)


class TestTextOnly:
    """A language model of molecules, without spectra."""

    @pytest.fixture
    def model(self):
        return builders.model(encoder=None, projector=None, condition_config=None)

    @pytest.fixture
    def text(self, processor):
        targets = [processor.encode_molecule(smiles) for smiles in MOLECULES]
        return {name: torch.tensor(array) for name, array in processor.training_text(targets, False).items()}

    def test_learns_and_writes(self, model, processor, text):
        assert model.num_parameters() == model.language_model.num_parameters()
        assert builders.train(model, rows(text, 0), steps=40, learning_rate=0.01)[-1] < 0.1
        ids = model.generate(input_ids=torch.tensor([[processor.tokenizer.bos_token_id]]), max_new_tokens=10)
        assert processor.decode_molecules(ids) == [MOLECULES[0]]

    @torch.no_grad()
    def test_lends_its_language_model_to_a_larger_system(self, model, text, examples, tmp_path):
        """Stage by stage: the same folder, now with a config that has a spectrum encoder."""
        model.save_pretrained(tmp_path)
        assert torch.equal(
            Spec2MolForConditionalGeneration.from_pretrained(tmp_path)(**text).logits, model(**text).logits
        )
        larger, info = Spec2MolForConditionalGeneration.from_pretrained(
            tmp_path, config=builders.config(), output_loading_info=True
        )
        assert info["missing_keys"] and all(name.startswith("model.") for name in info["missing_keys"])
        assert torch.equal(larger(**text).logits, model(**text).logits)
        assert larger(**examples).loss.isfinite()


class TestPreTrainedParts:
    @pytest.fixture(scope="class")
    @classmethod
    def language_model(cls, shared, tmp_path_factory):
        """A folder as ChemGPT's on the Hub: its config, but for a smaller size, and its tokenizer."""
        folder = tmp_path_factory.mktemp("chemgpt")
        published = json.loads((shared / "fixtures/chemgpt/config.json").read_text())
        del published["attention_layers"]  # attention_types, written out
        small = {"num_layers": 2, "attention_types": [[["global", "local"], 1]], "hidden_size": 32, "num_heads": 4}
        torch.manual_seed(1)
        GPTNeoForCausalLM(GPTNeoConfig(**published | small)).save_pretrained(folder)
        shutil.copy(shared / "fixtures/chemgpt/tokenizer.json", folder)
        config = json.loads((folder / "config.json").read_text())
        assert config["eos_token_id"] == published["eos_token_id"] > config["vocab_size"]
        return folder

    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("dreams")
        convert_dreams(FIXTURES / "dreams_tiny/ssl_model.ckpt", folder)
        return folder

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, encoder, language_model):
        return Spec2MolForConditionalGeneration.from_pretrained_parts(
            encoder, language_model, num_query_tokens=NUM_QUERIES, projector_config=builders.PROJECTOR
        ).eval()

    @pytest.fixture(scope="class")
    @classmethod
    def processor(cls, encoder, language_model):
        return Spec2MolProcessor.from_pretrained_parts(encoder, language_model, num_query_tokens=NUM_QUERIES)

    def test_special_ids(self, model):
        for holder in (model.config.text_config, model.language_model.config, model.generation_config):
            assert (holder.bos_token_id, holder.eos_token_id, holder.pad_token_id) == (2, 3, 1)
        assert model.config.soft_token_id == 4
        assert model.generation_config.suppress_tokens == [4]
        assert model.config.projector_config.pad_token_id == 1

    def test_weights_are_the_parts(self, model, encoder, language_model):
        dreams = DreamsForPreTraining.from_pretrained(encoder).dreams.state_dict()
        chemgpt = GPTNeoForCausalLM.from_pretrained(language_model).state_dict()
        for ours, theirs in ((model.model.encoder, dreams), (model.language_model, chemgpt)):
            assert ours.state_dict().keys() == theirs.keys()
            assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.state_dict().items())

    def test_config_describes_the_parts(self, model, encoder):
        assert model.config.encoder_config.to_dict()["num_peaks"] == 60
        assert model.config.encoder_config.attend_to_padding
        assert model.config.projector_config.encoder_hidden_size == model.config.encoder_config.hidden_size
        assert model.config.projector_config.vocab_size == model.config.text_config.vocab_size == 684

    def test_processor_fits(self, model, processor):
        assert processor.dialect == "1.x"
        assert processor.feature_extractor.num_peaks == model.config.encoder_config.num_peaks
        assert processor.feature_extractor.conditions
        assert processor.num_query_tokens == model.config.num_query_tokens
        assert processor.tokenizer.mask_token_id == model.config.soft_token_id

    def test_golden_ids(self, processor, shared):
        golden = json.loads((shared / "fixtures/chemgpt/golden_ids.json").read_text())
        assert len(golden) > 10
        for row in golden:
            assert processor.encode_molecule(row["smiles"]) == row["input_ids"]

    def test_learns_and_stops(self, encoder, language_model, processor):
        model = Spec2MolForConditionalGeneration.from_pretrained_parts(
            encoder, language_model, num_query_tokens=NUM_QUERIES, projector_config=builders.PROJECTOR
        )
        two = {"spectra": spectra()[:2], "molecules": MOLECULES[:2]}
        builders.train(model, processor(**two, return_tensors="pt"), steps=60)
        ids = model.generate(**processor(spectra=two["spectra"], return_tensors="pt"), max_new_tokens=50)
        assert ids.shape[1] < NUM_QUERIES + 1 + 50 and (ids == processor.tokenizer.eos_token_id).any(1).all()
        assert processor.decode_molecules(ids) == list(MOLECULES[:2])

    def test_saved_whole(self, model, processor, tmp_path):
        model.save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
        loaded = Spec2MolForConditionalGeneration.from_pretrained(tmp_path)
        inputs = Spec2MolProcessor.from_pretrained(tmp_path)(spectra=spectra(), return_tensors="pt")
        expected = model.generate(**processor(spectra=spectra(), return_tensors="pt"), max_new_tokens=5)
        assert torch.equal(loaded.generate(**inputs, max_new_tokens=5), expected)


def test_generation_is_not_cut_off_by_default():
    """Without a length, as far as a molecule may need and the language model has positions for."""
    assert builders.model().generation_config.max_new_tokens == 64 - NUM_QUERIES - 1
    roomy = builders.model(language_model={"max_position_embeddings": 512})
    assert roomy.generation_config.max_new_tokens == 256
