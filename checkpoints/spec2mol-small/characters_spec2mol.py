"""Molecules, proteins and nucleotides amid text, a token for each character, as SciMind writes them: `{|C|}{|O|}`,
`<|M|><|K|>`, `*|A|**|C|*` (https://github.com/fangxintao/SciMind). What is written so comes back without loss, and a
token tells its modality."""

import re
import string

from transformers import AddedToken

# Modality: what stands before and behind a character, and the characters. Text is modality 0, these are 1, 2, 3.
MODALITIES = {
    "molecule": ("{|", "|}", string.ascii_letters + string.digits + "#$%()*+-./:=>@[\\]~"),
    "protein": ("<|", "|>", string.ascii_uppercase + "*-"),
    "nucleotide": ("*|", "|*", "ACGTURYSWKMBDHVN-"),
}
_WRITTEN = [re.compile(rf"{re.escape(a)}(.){re.escape(b)}") for a, b, _ in MODALITIES.values()]
_SEQUENCES = [re.compile(rf"(?:{written.pattern}\s*)*{written.pattern}") for written in _WRITTEN]


def to_characters(sequence: str, modality: str) -> str:
    """Raises ValueError for a character that the modality does not have."""
    before, behind, characters = MODALITIES[modality]
    if unknown := sorted(set(sequence) - set(characters)):
        raise ValueError(f"{' '.join(unknown)} in a {modality}: {sequence!r}")
    return "".join(f"{before}{character}{behind}" for character in sequence)


def from_characters(text: str) -> str:
    """A text with all such characters put back into sequences, without the space that tokenizers put between them."""
    for written, sequence in zip(_WRITTEN, _SEQUENCES, strict=True):
        text = sequence.sub(lambda match, written=written: "".join(written.findall(match[0])), text)
    return text


def remove_characters(text: str) -> str:
    """The text around the sequences."""
    for sequence in _SEQUENCES:
        text = sequence.sub("", text)
    return text


def add_characters(tokenizer):
    """Adds their tokens, each modality's side by side, where they are missing, and returns the tokenizer."""
    for before, behind, characters in MODALITIES.values():
        tokenizer.add_tokens([AddedToken(f"{before}{c}{behind}", normalized=False) for c in characters])
    return tokenizer


def character_ids(tokenizer) -> list[list[int]]:
    """First id and the one behind the last, of each modality in turn. Raises ValueError where they are not side by
    side, or there are none."""
    ranges = []
    for name, (before, behind, characters) in MODALITIES.items():
        ids = tokenizer.convert_tokens_to_ids([f"{before}{c}{behind}" for c in characters])
        if ids != list(range(ids[0], ids[0] + len(ids))):
            raise ValueError(f"the tokenizer lacks characters of a {name}: see add_characters")
        ranges.append([ids[0], ids[0] + len(ids)])
    return ranges


__all__ = ["MODALITIES", "add_characters", "character_ids", "from_characters", "remove_characters", "to_characters"]
