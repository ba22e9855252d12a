import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec2mol.characters_spec2mol import (
    MODALITIES,
    add_characters,
    character_ids,
    from_characters,
    to_characters,
)
from spec2mol.data.text_tokenizer import build_text_tokenizer
from tests.text_models import t5_tokenizer

SEQUENCES = {"molecule": "F/C=C\\[C@@H](O)[13CH3]~[Na+]", "protein": "MKV*-X", "nucleotide": "ACGUN-"}


@pytest.mark.parametrize(
    ("sequence", "modality", "written"),
    [
        ("C[O-]", "molecule", "{|C|}{|[|}{|O|}{|-|}{|]|}"),
        ("MK", "protein", "<|M|><|K|>"),
        ("AC", "nucleotide", "*|A|**|C|*"),
    ],
)
def test_spelling(sequence, modality, written):
    assert to_characters(sequence, modality) == written
    assert from_characters(written) == sequence


@given(st.sampled_from(sorted(MODALITIES)), st.data())
def test_nothing_is_lost(modality, data):
    sequence = data.draw(st.text(MODALITIES[modality][2]))
    assert from_characters(to_characters(sequence, modality)) == sequence


def test_characters_that_a_modality_does_not_have_are_an_error():
    with pytest.raises(ValueError, match="1 in a protein: 'MK1'"):
        to_characters("MK1", "protein")


def test_text_around_sequences_stays():
    text = f"Is {to_characters('C#N', 'molecule')} <toxic> {{ or }} 5 * 3 | 2?"
    assert from_characters(text) == "Is C#N <toxic> { or } 5 * 3 | 2?"


def test_spaces_that_a_tokenizer_put_in_are_removed():
    assert from_characters("a {|C|} {|#|}  {|N|} b") == "a C#N b"


@pytest.mark.parametrize("make", [t5_tokenizer, lambda: build_text_tokenizer(["The molecule is an acid."], 200)])
def test_each_character_is_one_token_that_tells_its_modality(make):
    tokenizer = add_characters(make())
    ranges = character_ids(tokenizer)
    for (modality, sequence), (first, end) in zip(SEQUENCES.items(), ranges, strict=True):
        ids = tokenizer(f"is {to_characters(sequence, modality)} an", add_special_tokens=False)["input_ids"]
        inside = [first <= i < end for i in ids]
        assert sum(inside) == len(sequence)
        assert from_characters(tokenizer.decode([i for i, kept in zip(ids, inside, strict=True) if kept])) == sequence


def test_a_tokenizer_without_them_is_an_error():
    with pytest.raises(ValueError, match="lacks characters of a molecule: see add_characters"):
        character_ids(t5_tokenizer())
