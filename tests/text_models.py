"""Tiny language models of text, with their tokenizers: what tests of tasks and of encoder-decoders start from."""

import string

import torch
from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer


def t5_tokenizer() -> T5Tokenizer:
    """Laid out as T5's: <pad> 0, </s> 1, <unk> 2, pieces, sentinels; like T5's vocabulary, without a backslash."""
    characters = sorted(set(string.printable.strip()) - set("\\{}~^`"))
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((c, -4.0) for c in characters)]
    return T5Tokenizer(vocab=pieces + [(f"<extra_id_{i}>", 0.0) for i in reversed(range(100))])


def t5(seed: int = 0, **fields) -> T5ForConditionalGeneration:
    """In eval mode, with random weights so large that every input matters; with room for a few more tokens than the
    tokenizer has, as T5's."""
    torch.manual_seed(seed)
    config = {
        "vocab_size": len(t5_tokenizer()) + 8,
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_heads": 4,
        "decoder_start_token_id": 0,
        "dropout_rate": 0.0,
    }
    model = T5ForConditionalGeneration(T5Config(**config | fields)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
    return model
