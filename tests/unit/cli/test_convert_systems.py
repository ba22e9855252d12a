"""Whole checkpoints of 3D-MoLM and LLaMo, in the layout of their public code."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoProcessor, BertConfig, LlamaConfig, LlamaForCausalLM
from transformers.models.bert.modeling_bert import BertLayer

from spec2mol.cli.convert_unimol import convert_unimol
from spec2mol.cli.main import main
from spec2mol.data.text_tokenizer import build_text_tokenizer
from spec2mol.molecules_spec2mol import graph_features
from tests.builders import randomized
from tests.reference_llamo import Mllm
from tests.reference_unimol import reference_unimol
from tests.unit.cli.test_convert_unimol import released

MOLECULES = ["CC(=O)Oc1ccccc1C(=O)O", "C[N+](C)(C)CC(=O)[O-]"]
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """Folder of a tiny Llama."""
    folder = tmp_path_factory.mktemp("llama")
    tokenizer = build_text_tokenizer(["What is this molecule?"], 120)
    tokenizer.save_pretrained(folder)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), pad_token_id=0, eos_token_id=1, **sizes))
    randomized(model).save_pretrained(folder)
    return folder


def adapted(llama, modules):
    """With random LoRA and rows for two more tokens."""
    model = AutoModelForCausalLM.from_pretrained(llama)
    model.resize_token_embeddings(model.config.vocab_size + 2)
    model = get_peft_model(model, LoraConfig(r=4, lora_alpha=32, target_modules=modules)).eval()
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter.normal_(std=0.1)
    return model


def same_language_model(converted, original):
    ids = torch.arange(5, 25).view(2, 10)
    with torch.no_grad():
        logits = original(ids).logits[..., : converted.config.text_config.vocab_size]
        torch.testing.assert_close(converted.language_model(ids).logits[..., : logits.shape[-1]], logits, **CLOSE)


class TestMolm:
    @pytest.fixture
    def official(self, llama, tmp_path):
        """Path and state dict of a checkpoint of stage 3: what was trained, under the names of the public code."""
        torch.manual_seed(1)
        bert = BertConfig(hidden_size=128, intermediate_size=96, num_attention_heads=2, num_hidden_layers=3)
        bert.is_decoder = bert.add_cross_attention = True
        bert._attn_implementation = "eager"
        self.layers = torch.nn.ModuleList(randomized(BertLayer(bert, layer_idx=i)) for i in range(3))
        state = {}
        for i, layer in enumerate(self.layers):
            for name, weight in layer.state_dict().items():
                # Cross-attention in every other layer; queries have the feed-forward layers to themselves.
                name = name.replace("output.", "output_query.") if name.startswith("output.") else name
                name = name.replace("intermediate.", "intermediate_query.")
                if not (name.startswith("crossattention") and i == 1):
                    if name.startswith("crossattention.self") and "query" not in name and name.endswith("weight"):
                        weight = weight[:, :32]  # the encoder's width
                        layer.crossattention.self.get_submodule(name.split(".")[2]).weight.data = weight
                    state[f"Qformer.bert.encoder.layer.{i}.{name}"] = weight
        state |= {f"Qformer.bert.embeddings.LayerNorm.{kind}": torch.rand(128) for kind in ("weight", "bias")}
        state |= {
            "query_tokens": torch.randn(1, 8, 128),
            "ln_graph.weight": torch.rand(32),
            "ln_graph.bias": torch.rand(32),
        }
        state |= {"llm_proj.weight": torch.randn(32, 128), "llm_proj.bias": torch.randn(32)}
        modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        self.language_model = adapted(llama, modules)
        trained = {name for name, p in self.language_model.named_parameters() if p.requires_grad}
        of_model = self.language_model.state_dict()
        state |= {f"llm_model.{name}": of_model[name] for name in trained}
        self.unimol = released(tmp_path / "mol_pre_no_h.pt")
        convert_unimol(tmp_path / "mol_pre_no_h.pt", tmp_path / "unimol")
        self.save(tmp_path, state)
        return state

    def save(self, tmp_path, state):
        content = {"state_dict": {f"blip2opt.{name}": weight for name, weight in state.items()}}
        torch.save(content | {"hyper_parameters": {"lora_alpha": 32}, "epoch": 9}, tmp_path / "generalist.ckpt")

    def convert(self, llama, tmp_path):
        paths = [tmp_path / "generalist.ckpt", tmp_path / "unimol", llama, tmp_path / "molm"]
        return main(["convert-3d-molm", *map(str, paths)])

    def reference_soft_tokens(self, state, conformer):
        """Its `generate` up to the language model. The mask says 1 for padding, and that is what queries attend to."""
        atom_ids, coordinates = conformer
        states = reference_unimol(self.unimol, 4, atom_ids, coordinates, padding=3)
        norm = torch.nn.functional.layer_norm
        states = norm(states, (32,), state["ln_graph.weight"], state["ln_graph.bias"])[None]
        mask = torch.zeros(1, 1, 1, states.shape[1])
        mask[..., : len(atom_ids)] = -10000
        names = [f"Qformer.bert.embeddings.LayerNorm.{kind}" for kind in ("weight", "bias")]
        hidden = norm(state["query_tokens"], (128,), *(state[name] for name in names), 1e-12)
        for i, layer in enumerate(self.layers):
            hidden = layer.attention(hidden)[0]
            if i != 1:
                hidden = layer.crossattention(hidden, encoder_hidden_states=states, encoder_attention_mask=mask)[0]
            hidden = layer.feed_forward_chunk(hidden)
        return hidden @ state["llm_proj.weight"].T + state["llm_proj.bias"]

    @torch.no_grad()
    def test_soft_tokens_and_language_model_are_the_originals(self, official, llama, tmp_path):
        assert self.convert(llama, tmp_path) == 0
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "molm", trust_remote_code=True).eval()
        processor = AutoProcessor.from_pretrained(tmp_path / "molm", trust_remote_code=True)
        assert model.config.num_query_tokens == 8 and model.config.projector_config.cross_attention_frequency == 2
        inputs = processor.feature_extractor(MOLECULES, return_tensors="pt")
        for row, mask in enumerate(inputs["atoms_mask"].bool()):
            conformer = inputs["atom_ids"][row, mask], inputs["coordinates"][row, mask]
            expected = self.reference_soft_tokens(official, conformer)
            found = model.model(**inputs).soft_tokens[row : row + 1]
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
        same_language_model(model, self.language_model)
        asked = [{"role": "user", "content": f"What?\nInput molecule: CO {processor.soft_tokens}."}]
        written = processor.tokenizer.apply_chat_template(asked, chat_template=processor.chat_template, tokenize=False)
        assert written.startswith("</s>Below is an instruction") and written.endswith(".\nResponse: ")

    def test_no_weight_is_left_out_or_made_up(self, official, llama, tmp_path, capsys):
        for change, told in (
            ({"Qformer.cls.predictions.bias": torch.ones(3)}, "1 weights have no place, such as Qformer.cls"),
            ({"llm_proj.bias": None}, "'llm_proj.bias' is missing"),
            ({"llm_proj.weight": torch.ones(31, 128)}, "not the shapes of 3D-MoLM"),
        ):
            state = {name: weight for name, weight in (official | change).items() if weight is not None}
            self.save(tmp_path, state)
            assert self.convert(llama, tmp_path) == 2
            assert told in capsys.readouterr().err


class TestLlamo:
    @pytest.fixture
    def official(self, llama, tmp_path):
        torch.manual_seed(2)
        mllm = randomized(Mllm(adapted(llama, ["q_proj", "v_proj"])))
        for norm in (module for module in mllm.modules() if isinstance(module, torch.nn.BatchNorm1d)):
            norm.running_mean.normal_(std=0.1), norm.running_var.uniform_(0.5, 2)
        self.save(tmp_path, mllm.state_dict())
        return mllm

    def save(self, tmp_path, state):
        content = {"state_dict": {f"mllm.{name}": weight for name, weight in state.items()}, "hyper_parameters": {}}
        torch.save(content, tmp_path / "stage2.ckpt")

    def convert(self, llama, tmp_path):
        return main(["convert-llamo", str(tmp_path / "stage2.ckpt"), str(llama), str(tmp_path / "llamo")])

    @torch.no_grad()
    def test_soft_tokens_and_language_model_are_the_originals(self, official, llama, tmp_path):
        assert self.convert(llama, tmp_path) == 0
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "llamo", trust_remote_code=True).eval()
        processor = AutoProcessor.from_pretrained(tmp_path / "llamo", trust_remote_code=True)
        assert model.config.num_query_tokens == 28 and model.config.projector_config.share_level_attention
        soft_tokens = model.model(**processor.feature_extractor(MOLECULES, return_tensors="pt")).soft_tokens
        for smiles, found in zip(MOLECULES, soft_tokens, strict=True):
            graph = {name: torch.from_numpy(array)[0] for name, array in graph_features([smiles]).items()}
            edges = torch.cat([graph["bonds"], graph["bonds"].flip(1)]).T
            h_list = official.graph_model.molecule_node_model(
                graph["atom_features"], edges, graph["bond_features"].repeat(2, 1)
            )
            torch.testing.assert_close(found, official.abstractor(h_list, graph["motif_features"]), **CLOSE)
        same_language_model(model, official.language_model)

    def test_levels_of_their_own_and_wrong_files(self, official, llama, tmp_path, capsys):
        official.abstractor.cross_attention[3] = copy.deepcopy(official.abstractor.cross_attention[3])
        official.abstractor.cross_attention[3].in_proj_bias.data += 1
        self.save(tmp_path, official.state_dict())
        assert self.convert(llama, tmp_path) == 0
        config = AutoModelForCausalLM.from_pretrained(tmp_path / "llamo", trust_remote_code=True).config
        assert not config.projector_config.share_level_attention
        self.save(tmp_path, official.state_dict() | {"abstractor.eos_tokens": torch.ones(1)})
        assert self.convert(llama, tmp_path) == 2 and "such as abstractor.eos_tokens" in capsys.readouterr().err
        torch.save({"model": {"a": torch.ones(1)}}, tmp_path / "stage2.ckpt")
        assert self.convert(llama, tmp_path) == 2 and "stage2.ckpt: not such a checkpoint" in capsys.readouterr().err
