import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, GemmaConfig, LlamaConfig, MistralConfig, Qwen2Config

from spec2mol import Spec2MolForConditionalGeneration, Spec2MolProcessor
from spec2mol.configuration_spec2mol import ModalityExpertsConfig
from spec2mol.modeling_modality_experts import (
    ModalityExpertsMLP,
    add_modality_experts,
    balanced_kmeans,
    partition_neurons,
)
from spec2mol.saving import save_for_hub
from tests import builders

EXPERTS = {"num_experts": 16, "active_experts": [14, 2], "modality_token_ids": [[20, 30]]}
IDS = torch.tensor([[5, 21, 22, 7, 29, 30, 1, 1], [25, 6, 20, 8, 9, 24, 23, 10]])
TYPES = torch.tensor([[0, 1, 1, 0, 1, 0, 0, 0], [1, 0, 1, 0, 0, 1, 1, 0]])


@pytest.fixture(autouse=True)
def few_tokens_are_enough(monkeypatch):
    """To skip the computing of inactive clusters."""
    monkeypatch.setattr(ModalityExpertsMLP, "sparse_tokens", 1)


def llama(seed=0, **fields):
    torch.manual_seed(seed)
    config = {"vocab_size": 40, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    config |= {"num_attention_heads": 4, "max_position_embeddings": 64, "pad_token_id": 1, "eos_token_id": 3}
    model = AutoModelForCausalLM.from_config(LlamaConfig(**config | fields)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=parameter.shape[-1] ** -0.5)
    return model


def routed(**fields):
    model = llama()
    add_modality_experts(model, ModalityExpertsConfig(**EXPERTS | fields))
    return model


def layers(model):
    return [module for module in model.modules() if isinstance(module, ModalityExpertsMLP)]


def composite(**fields):
    parts = dict.fromkeys(("encoder", "projector", "condition_config"))
    return builders.model(
        **parts, text_config=llama().config.to_dict(), soft_token_id=4, experts_config=EXPERTS | fields
    )


def active(layer, hidden_states, types):
    """Which clusters the layer's down projection gets something of, `(batch, length, experts)`."""
    layer.router.token_types = types
    seen = []
    handle = layer.down_proj.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    layer.down_active = lambda clusters, active: layer.down_proj((clusters * active[..., None]).flatten(-2))
    layer(hidden_states)
    handle.remove()
    del layer.down_active
    dense, sparse = seen
    both = torch.zeros(*types.shape, 64)
    both[types == 0], both[types == 1] = dense, sparse
    return both.unflatten(-1, (16, 4)).abs().sum(-1) > 0


@torch.no_grad()
def test_exactly_k_are_active_for_each_token_of_a_mixed_batch():
    layer = layers(routed())[0]
    counts = active(layer, torch.randn(2, 8, 32), TYPES).sum(-1)
    assert torch.equal(counts, torch.where(TYPES == 1, 2, 14))


@torch.no_grad()
def test_they_are_those_with_the_largest_sums_of_activations():
    layer, states = layers(routed())[0], torch.randn(2, 8, 32)
    hidden = torch.nn.functional.silu(layer.gate_proj(states)) * layer.up_proj(states)
    for token, type_ in (((0, 1), 1), ((0, 3), 0)):
        sums = hidden[token].view(16, 4).sum(-1)
        expected = set(sums.topk(2 if type_ else 14).indices.tolist())
        assert set(active(layer, states, TYPES)[token].nonzero()[:, 0].tolist()) == expected


def test_ties_do_not_make_it_more():
    layer = layers(routed())[0]
    chosen = layer.active_clusters(torch.zeros(2, 8, 16, 4), torch.where(TYPES == 1, 2, 14))
    assert torch.equal(chosen.sum(-1), torch.where(TYPES == 1, 2, 14))


@torch.no_grad()
def test_all_of_them_are_the_dense_model():
    dense = llama()(IDS).logits
    model = llama()
    partition_neurons(model, 16)
    torch.testing.assert_close(model(IDS).logits, dense, atol=1e-5, rtol=0)
    add_modality_experts(model, ModalityExpertsConfig(**EXPERTS | {"active_experts": [16, 16]}))
    torch.testing.assert_close(model(IDS, moe_mm_token_type_ids=TYPES).logits, dense, atol=1e-5, rtol=0)
    assert (routed()(IDS, moe_mm_token_type_ids=TYPES).logits - dense).abs().max() > 0.01


@torch.no_grad()
@pytest.mark.parametrize("config", [MistralConfig, Qwen2Config, GemmaConfig], ids=lambda config: config.model_type)
def test_any_llama_like_model_is_rewritten(config):
    fields = {"vocab_size": 40, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    fields |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 1}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config(**fields)).eval()
    dense = model(IDS).logits
    partition_neurons(model, 16)
    router = add_modality_experts(model, ModalityExpertsConfig(**EXPERTS | {"active_experts": [16, 16]}))
    torch.testing.assert_close(model(IDS, moe_mm_token_type_ids=TYPES).logits, dense, atol=1e-5, rtol=0)
    router.config.active_experts = [14, 2]
    assert not torch.equal(model(IDS, moe_mm_token_type_ids=TYPES).logits, dense)


def test_gradient_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        model = routed().train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        model(IDS, moe_mm_token_type_ids=TYPES, use_cache=False).logits.square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@torch.no_grad()
def test_adapted_projections():
    """LoRA starts as no change; its layers are computed with all clusters, of which inactive ones are zero."""
    expected = routed()(IDS, moe_mm_token_type_ids=TYPES).logits
    adapted = get_peft_model(routed(), LoraConfig(r=2, target_modules=["up_proj", "down_proj"]))
    torch.testing.assert_close(adapted(IDS, moe_mm_token_type_ids=TYPES).logits, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("bias", [False, True])
def test_skipping_inactive_clusters_changes_nothing(bias):
    """Neither outputs nor gradients."""
    model = llama(mlp_bias=bias)
    add_modality_experts(model, ModalityExpertsConfig(**EXPERTS))
    layer, states = layers(model)[0], torch.randn(2, 8, 32, requires_grad=True)
    layer.router.token_types = TYPES
    results = []
    for skips in (True, False):
        layer.down_active = (
            type(layer).down_active.__get__(layer)
            if skips
            else lambda clusters, active: layer.down_proj((clusters * active[..., None]).flatten(-2))
        )
        output = layer(states)
        inputs = [states, *layer.parameters()]
        results.append([output, *torch.autograd.grad(output.square().sum(), inputs)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("token", [(0, 1), (0, 3)], ids=["molecule", "text"])
def test_a_token_teaches_its_active_clusters_alone(token):
    layer, states = layers(routed())[0], torch.randn(2, 8, 32)
    with torch.no_grad():
        chosen = active(layer, states, TYPES)[token]
    layer.router.token_types = TYPES
    layer(states)[token].sum().backward()
    for weight in (layer.gate_proj.weight.grad, layer.up_proj.weight.grad, layer.down_proj.weight.grad.T):
        assert torch.equal(weight.view(16, 4, -1).abs().sum((1, 2)) > 0, chosen)


@torch.no_grad()
def test_bfloat16_autocast():
    model = routed()
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(IDS, moe_mm_token_type_ids=TYPES).logits
    torch.testing.assert_close(logits.float(), model(IDS, moe_mm_token_type_ids=TYPES).logits, atol=0.3, rtol=0)


class TestGenerate:
    prompts = {"input_ids": IDS[:, :4], "attention_mask": torch.ones_like(IDS[:, :4])}
    arguments = {"max_new_tokens": 12, "min_new_tokens": 12, "suppress_tokens": [4]}

    @torch.no_grad()
    def test_modalities_are_those_of_the_ids(self):
        model = composite()
        assert torch.equal(model.router.token_types_of(IDS), TYPES)
        assert torch.equal(model(IDS).logits, model(IDS, moe_mm_token_type_ids=TYPES).logits)
        assert not torch.equal(model(IDS).logits, model(IDS, moe_mm_token_type_ids=torch.zeros_like(IDS)).logits)

    @pytest.mark.parametrize("arguments", [{}, {"num_beams": 3}], ids=str)
    def test_cached_decoding_equals_the_full_forward_pass(self, arguments):
        model = composite()
        cached = model.generate(**self.prompts, **self.arguments, **arguments)
        full = model.generate(**self.prompts, **self.arguments, **arguments, use_cache=False)
        assert torch.equal(cached, full)
        types = model.router.token_types_of(cached[:, 4:])
        assert types.any() and not types.all()  # Both modalities were written.

    @torch.no_grad()
    def test_cached_logits_equal_those_of_the_full_forward_pass(self):
        model = composite()
        full = model(IDS).logits
        first = model(IDS[:, :5], use_cache=True)
        then = [model(IDS[:, i : i + 1], past_key_values=first.past_key_values).logits for i in range(5, 8)]
        torch.testing.assert_close(torch.cat([first.logits, *then], 1), full, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("use_cache", [True, False])
    def test_given_modalities_of_the_prompt_go_through_generate(self, use_cache):
        model = composite()
        expected = model.generate(**self.prompts, **self.arguments, use_cache=use_cache)
        given = model.generate(
            **self.prompts, **self.arguments, moe_mm_token_type_ids=TYPES[:, :4], use_cache=use_cache
        )
        assert torch.equal(given, expected)
        other = model.generate(
            **self.prompts, **self.arguments, moe_mm_token_type_ids=1 - TYPES[:, :4], use_cache=use_cache
        )
        assert not torch.equal(other, expected)


@torch.no_grad()
def test_it_saves_and_loads(tmp_path):
    model = composite()
    save_for_hub(model, builders.processor(), tmp_path)
    loaded, info = Spec2MolForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert torch.equal(loaded.eval()(IDS).logits, model(IDS).logits)


@torch.no_grad()
def test_a_pretrained_model_gets_experts_and_character_tokens(tmp_path):
    from spec2mol.data.text_tokenizer import build_text_tokenizer

    tokenizer = build_text_tokenizer(["The molecule is an acid."], 200)
    tokenizer.save_pretrained(tmp_path)
    dense = llama(vocab_size=len(tokenizer))
    dense.save_pretrained(tmp_path)
    everything = {"active_experts": [16, 16, 16, 16]}
    model = Spec2MolForConditionalGeneration.from_pretrained_parts(None, str(tmp_path), experts_config=everything)
    processor = Spec2MolProcessor.from_pretrained_parts(None, str(tmp_path), characters=True)
    logits = model.eval()(IDS).logits[..., : len(tokenizer)]
    torch.testing.assert_close(logits, dense(IDS).logits, atol=1e-5, rtol=0)
    ids = torch.tensor([processor.tokenizer("is {|C|}{|\\|} <|M|> *|A|*", add_special_tokens=False)["input_ids"]])
    types = model.router.token_types_of(ids)[0]
    assert types[types > 0].tolist() == [1, 1, 2, 3]
    assert model(ids).logits.shape[-1] == len(processor.tokenizer)


class TestPartition:
    def test_clusters_are_of_one_size_and_find_what_is_alike(self):
        torch.manual_seed(0)
        centres, planted = torch.randn(4, 8) * 5, torch.arange(4).repeat(16)[torch.randperm(64)]
        labels = balanced_kmeans(centres[planted] + torch.randn(64, 8) * 0.1, 4)
        assert labels.bincount().tolist() == [16] * 4
        pairs = set(zip(labels.tolist(), planted.tolist(), strict=True))
        assert len(pairs) == 4

    def test_rows_are_nearer_to_their_own_centre_than_by_chance(self):
        torch.manual_seed(0)
        rows = torch.randn(256, 4)

        def spread(labels):
            return sum(rows[labels == c].var(0).sum() for c in range(16))

        assert spread(balanced_kmeans(rows, 16)) < 0.6 * spread(torch.arange(256) % 16)

    def test_every_neuron_is_in_one_cluster(self):
        model, reordered = llama(), llama()
        partition_neurons(reordered, 16)
        before, after = (m.model.layers[0].mlp.up_proj.weight for m in (model, reordered))
        assert not torch.equal(before, after)
        assert sorted(map(tuple, before.tolist())) == sorted(map(tuple, after.tolist()))


class TestMistakes:
    def test_a_model_without_gated_layers(self):
        with pytest.raises(ValueError, match="GPTNeoForCausalLM has no gated feed-forward layers"):
            add_modality_experts(builders.model().language_model, ModalityExpertsConfig())

    def test_neurons_that_cannot_be_divided(self):
        with pytest.raises(ValueError, match="64 neurons cannot be divided into 5 experts"):
            add_modality_experts(llama(), ModalityExpertsConfig(num_experts=5, active_experts=[5]))

    def test_tokens_without_modality(self):
        with pytest.raises(ValueError, match=r"moe_mm_token_type_ids None for tokens \(2, 8\)"):
            routed()(IDS)
        with pytest.raises(ValueError, match=r"moe_mm_token_type_ids \(2, 7\) for tokens \(2, 8\)"):
            routed()(IDS, moe_mm_token_type_ids=TYPES[:, 1:])

    def test_more_modalities_than_counts(self):
        with pytest.raises(ValueError, match="2 modalities beside text"):
            ModalityExpertsConfig(active_experts=[14, 2], modality_token_ids=[[1, 2], [3, 4]])
        with pytest.raises(ValueError, match=r"active_experts \[17, 2\] of 16"):
            ModalityExpertsConfig(active_experts=[17, 2])
