from spec2mol.data.text_tokenizer import build_text_tokenizer


def test_numbers_are_written_digit_by_digit():
    texts = ["Its molecular weight is 342.5 g/mol.", "Its SMILES is CC(=O)Oc1ccccc1C(=O)O"] * 5
    tokenizer = build_text_tokenizer(texts, 150)
    tokens = tokenizer.tokenize(texts[0])
    assert [token for token in tokens if any(c.isdigit() for c in token)] == list("3425")
    assert tokens[:2] == ["▁Its", "▁molecular"]
    for text in [*texts[:2], "1,204 and -0.5 of C12CC1(C)C%10=C%10C2"]:
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
