"""A tokenizer of text and SMILES for small language models that start from nothing."""

import string
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from ..characters_spec2mol import add_characters

SPECIAL_TOKENS = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}


def build_text_tokenizer(
    texts: Iterable[str], vocab_size: int = 4000, characters: bool = False, smiles: bool = False
) -> PreTrainedTokenizerFast:
    """Byte-pair encoding (Sennrich et al. 2016) over characters, the same for the same texts. Words keep the space in
    front of them, digits are tokens of their own, and every text ends with </s>. It can write printable ASCII and the
    characters of the texts.

    vocab_size: at most so many tokens.
    characters: beside these, the tokens of `characters_spec2mol`.
    smiles: no token joins parentheses or dots to anything either. What one SMILES copies of another differs in ring
        numbers and branches, and without these its tokens are the same.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    # A number of which every part is a word of its own could be learned by heart alone.
    alone = Regex(r"[0-9().]" if smiles else r"[0-9]")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Split(alone, "isolated")]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS.values()),
        initial_alphabet=list(string.printable.strip()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    built = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL_TOKENS)
    return add_characters(built) if characters else built
