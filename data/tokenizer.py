"""A closed-vocabulary SELFIES tokenizer: one symbol is one token, and every token is a symbol of the language."""

import logging
import re
from collections.abc import Callable, Iterable

import selfies
from tokenizers import Regex, Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from ..chemistry_spec2mol import SELFIES_DIALECTS, SPECIAL_TOKENS, symbol_1x, to_selfies

logger = logging.getLogger(__name__)

SPECIAL_IDS = {"[UNK]": 0, "[PAD]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}  # ChemGPT's
MAX_LENGTH = 2048  # tokens, ChemGPT's

_BONDS = ("", "=", "#")  # of order 1, 2, 3
_STRUCTURE_SYMBOLS = {
    f"[{bond}{kind}{digits}]" for bond in _BONDS for kind in ("Branch", "Ring") for digits in (1, 2, 3)
}
# What follows a branch or ring symbol is its length, a number to the base of 16 whose digits are these.
_INDEX_SYMBOLS = {f"[{symbol}]" for symbol in "C Ring1 Ring2 O N =N =C #C S P".split()} | {
    f"[{bond}Branch{digits}]" for bond in _BONDS for digits in (1, 2)
}


def build_tokenizer(structures: Iterable[str], dialect: str = "2.x", map: Callable = map) -> PreTrainedTokenizerFast:
    """Tokenizer whose vocabulary writes every molecule made of the atoms (element, charge, hydrogens in brackets) that
    `structures` have, however they are bound. The ids do not depend on the order of the structures.

    Args:
        structures: SMILES. Those that SELFIES cannot write are skipped, counted and reported as a warning.
        dialect: of SELFIES, "1.x" or "2.x".
        map: in the manner of the builtin; `Executor.map` encodes in several processes.

    Raises ValueError for an unknown dialect, or if there is no structure left.
    """
    if dialect not in SELFIES_DIALECTS:
        raise ValueError(f"unknown SELFIES dialect {dialect!r}, expected one of {', '.join(SELFIES_DIALECTS)}")
    symbols, written, skipped = set(_INDEX_SYMBOLS), 0, 0
    for text in map(to_selfies, structures):
        if text is None:
            skipped += 1
        else:
            written += 1
            symbols.update(selfies.split_selfies(text))
    if not written:
        raise ValueError(f"none of {skipped} structures can be written as SELFIES")
    if skipped:
        logger.warning("%d of %d structures cannot be written as SELFIES and were skipped", skipped, written + skipped)

    symbols = _STRUCTURE_SYMBOLS | {variant for symbol in symbols for variant in _bond_variants(symbol)}
    if dialect == "1.x":
        symbols = {symbol_1x(symbol) for symbol in symbols}
    vocabulary = SPECIAL_IDS | {symbol: i for i, symbol in enumerate(sorted(symbols), start=len(SPECIAL_IDS))}

    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Split(Regex(r"\[.*?\]"), "isolated")
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", SPECIAL_IDS["[CLS]"]), ("[SEP]", SPECIAL_IDS["[SEP]"])],
    )
    tokenizer.decoder = Fuse()  # no spaces between symbols
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
        **SPECIAL_TOKENS,
    )


def _bond_variants(symbol):
    """An atom symbol (2.x) with each bond its valence allows; any other symbol alone."""
    match = re.fullmatch(r"\[[=#]?(([A-Z][a-z]?)(?:H(\d))?([+-]\d)?)\]", symbol)
    if match is None:
        return {symbol}
    atom, element, hydrogens, charge = match.groups()
    valences = selfies.get_semantic_constraints()
    free = valences.get(element + (charge or ""), valences["?"]) - int(hydrogens or 0)
    return {symbol} | {f"[{bond}{atom}]" for order, bond in enumerate(_BONDS, start=1) if order <= free}


__all__ = ["MAX_LENGTH", "SPECIAL_IDS", "build_tokenizer"]
