import inspect
import json
import os
import subprocess
import sys
import textwrap
from argparse import ArgumentParser

import hypothesis.strategies as st
import pandas as pd
import pytest
from hypothesis import given, settings
from transformers import AutoTokenizer

from spec2mol.chemistry_spec2mol import from_selfies, selfies_dialect, set_special_tokens, to_selfies
from spec2mol.cli import build_tokenizer as cli
from spec2mol.data.tokenizer import SPECIAL_IDS, build_tokenizer

DIALECTS = ("1.x", "2.x")
STRUCTURES = ["CC(=O)Oc1ccccc1C(=O)O", "C[N+](C)(C)CC(=O)[O-]", "c1cc[nH]c1", "FC(Cl)(Br)I", "CS(C)=O", "COP(=O)(O)O"]


@pytest.fixture(scope="module", params=DIALECTS)
def dialect(request):
    return request.param


@pytest.fixture(scope="module")
def tokenizer(dialect):
    return build_tokenizer(STRUCTURES, dialect)


def test_special_tokens_have_chemgpt_s_ids(tokenizer):
    assert tokenizer.convert_ids_to_tokens(range(5)) == ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"]
    assert (tokenizer.unk_token_id, tokenizer.pad_token_id, tokenizer.mask_token_id) == (0, 1, 4)
    assert tokenizer.bos_token_id == tokenizer.cls_token_id == 2
    assert tokenizer.eos_token_id == tokenizer.sep_token_id == 3
    assert tokenizer.model_max_length == 2048
    assert set(tokenizer(to_selfies("CCO"), return_token_type_ids=False)) == {"input_ids", "attention_mask"}


def test_nothing_is_left_for_set_special_tokens_to_do(tokenizer):
    before = tokenizer.special_tokens_map
    assert set_special_tokens(tokenizer).special_tokens_map == before


def test_dialect_is_seen_from_the_vocabulary(tokenizer, dialect):
    assert selfies_dialect(tokenizer) == dialect


def test_a_symbol_is_a_token(tokenizer, dialect):
    text = to_selfies("CC(=O)O", dialect)
    assert tokenizer.tokenize(text) == [symbol + "]" for symbol in text.split("]")[:-1]]
    ids = tokenizer(text).input_ids
    assert (ids[0], ids[-1], len(ids)) == (2, 3, text.count("[") + 2)


def test_decoding_gives_the_string(tokenizer, dialect):
    for smiles in STRUCTURES:
        text = to_selfies(smiles, dialect)
        assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


def test_batches_are_padded_and_decoded(tokenizer, dialect):
    texts = [to_selfies(smiles, dialect) for smiles in STRUCTURES]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    assert batch.attention_mask.sum(1).tolist() == [text.count("[") + 2 for text in texts]
    assert tokenizer.batch_decode(batch.input_ids, skip_special_tokens=True) == texts


@given(data=st.data())
@settings(deadline=None, database=None, max_examples=100)
def test_any_sequence_of_tokens_survives(tokenizer, data):
    symbols = sorted(tokenizer.get_vocab().keys() - SPECIAL_IDS.keys())
    text = "".join(data.draw(st.lists(st.sampled_from(symbols), max_size=50)))
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


def test_every_token_is_a_symbol_of_the_language(tokenizer, dialect):
    # Alone or after an atom, each is valid SELFIES: sampling cannot leave the language.
    for symbol in tokenizer.get_vocab().keys() - SPECIAL_IDS.keys():
        assert from_selfies("[C]" + symbol, dialect) is not None, symbol


@pytest.mark.parametrize(
    "smiles",
    [
        pytest.param("CC#N", id="bond not seen"),
        pytest.param("C[N+]#N", id="bond of a charged atom not seen"),
        pytest.param("C1#CCCCCCC1", id="triple bond closes a ring"),
        pytest.param("C1" + "C" * 300 + "1", id="large ring"),
        pytest.param("C" + "C(" + "C" * 300 + ")C", id="long branch"),
        pytest.param("C" + "C(=" + "C" * 300 + ")C", id="long branch with a double bond"),
        pytest.param("S=P(O)(O)O", id="other valence"),
    ],
)
def test_atoms_that_were_seen_may_be_bound_in_any_way(tokenizer, dialect, smiles):
    ids = tokenizer(to_selfies(smiles, dialect)).input_ids
    assert tokenizer.unk_token_id not in ids


def test_elements_that_were_not_seen_are_unknown(tokenizer, dialect):
    assert tokenizer.unk_token_id in tokenizer(to_selfies("C[Se]C", dialect)).input_ids


def test_valence_bounds_the_vocabulary():
    vocabulary = build_tokenizer(STRUCTURES).get_vocab()
    assert {"[F]", "[O-1]", "[=N+1]", "[#N+1]", "[=S]", "[#P]"} <= vocabulary.keys()
    assert not {"[=F]", "[=O-1]", "[#O]"} & vocabulary.keys()


def test_order_and_repetition_of_structures_do_not_matter(dialect, tokenizer):
    assert build_tokenizer(STRUCTURES[::-1] * 2, dialect).get_vocab() == tokenizer.get_vocab()


def test_fragments_are_separated_by_a_token_if_they_were_seen(dialect):
    text = to_selfies("CC(=O)[O-].[Na+]", dialect)
    salts = build_tokenizer(["CC(=O)[O-].[Na+]"], dialect)
    assert salts.tokenize(text).count(".") == 1
    assert salts.decode(salts(text).input_ids, skip_special_tokens=True) == text


def test_skipped_structures_are_reported(caplog):
    tokenizer = build_tokenizer(iter([*STRUCTURES, "C(", "CI(C)C"]))
    assert "2 of 8 structures cannot be written as SELFIES and were skipped" in caplog.text
    assert tokenizer.get_vocab() == build_tokenizer(STRUCTURES).get_vocab()


@pytest.mark.parametrize("structures, count", [([], 0), (["C(", ""], 2)])
def test_nothing_to_build_from(structures, count):
    with pytest.raises(ValueError, match=f"none of {count} structures can be written as SELFIES"):
        build_tokenizer(structures)


def test_unknown_dialect():
    with pytest.raises(ValueError, match="unknown SELFIES dialect '3', expected one of 1.x, 2.x"):
        build_tokenizer(STRUCTURES, "3")


def test_validation_structures_need_no_other_token(shared):
    train, val = (pd.read_parquet(shared / f"data/massbank/{fold}.parquet")["smiles"] for fold in ("train", "val"))
    tokenizer = build_tokenizer(train.drop_duplicates())
    unknown = []
    for smiles in val.drop_duplicates():
        ids = tokenizer(to_selfies(smiles)).input_ids
        if tokenizer.unk_token_id in ids:
            unknown.append(smiles)
        else:
            assert from_selfies(tokenizer.decode(ids, skip_special_tokens=True)) == smiles
    assert unknown == ["NCC[Se][Se]CCN"]  # the only one with an element that train has not


def test_a_fresh_process_loads_the_same(tmp_path):
    tokenizer = build_tokenizer(STRUCTURES)
    folders = [tmp_path / "alone", tmp_path / "beside_a_model"]
    for folder in folders:
        tokenizer.save_pretrained(folder)
    (folders[1] / "config.json").write_text(json.dumps({"model_type": "gpt_neo"}))

    def facts(tokenizer):
        ids = [tokenizer(text).input_ids for text in ("[C][=C][Ring1]", "[N][Unknown][O]", "[Br]")]
        decoded = tokenizer.batch_decode(ids)
        return [tokenizer.get_vocab(), tokenizer.special_tokens_map, tokenizer.model_max_length, ids, decoded]

    program = "import json, sys\nfrom transformers import AutoTokenizer\n" + textwrap.dedent(inspect.getsource(facts))
    program += "print(json.dumps([facts(AutoTokenizer.from_pretrained(folder)) for folder in sys.argv[1:]]))"
    output = subprocess.run(
        [sys.executable, "-c", program, *map(str, folders)],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert json.loads(output) == [facts(tokenizer)] * 2


# spec2mol build-tokenizer


def run(*argv):
    parser = ArgumentParser()
    cli.add_arguments(parser)
    return cli.run(parser.parse_args([str(word) for word in argv]))


@pytest.mark.parametrize("suffix", [".smi", ".csv", ".tsv", ".parquet"])
def test_command_reads_each_format(tmp_path, suffix):
    path = tmp_path / f"structures{suffix}"
    table = pd.DataFrame({"name": range(len(STRUCTURES)), "smiles": STRUCTURES})
    if suffix == ".parquet":
        table.to_parquet(path)
    elif suffix == ".smi":
        path.write_text("".join(f"{smiles} name of it\n\n" for smiles in STRUCTURES))
    else:
        table.to_csv(path, sep="," if suffix == ".csv" else "\t", index=False)
    assert cli.read_structures(path) == STRUCTURES


def test_command_writes_a_folder_that_loads(tmp_path, capsys):
    path = tmp_path / "structures.smi"
    path.write_text("\n".join(STRUCTURES))
    assert run(path, tmp_path / "tokenizer", "--dialect", "1.x") == 0
    loaded = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    assert loaded.get_vocab() == build_tokenizer(STRUCTURES, "1.x").get_vocab()
    output = capsys.readouterr()
    assert f"{len(loaded)} tokens, SELFIES 1.x" in output.out
    assert "6/6" in output.err  # the progress bar


def test_command_names_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file: .*absent.smi"):
        run(tmp_path / "absent.smi", tmp_path)
    (tmp_path / "table.csv").write_text("name,structure\nethanol,CCO\n")
    with pytest.raises(ValueError, match="table.csv has no column smiles, only name, structure"):
        run(tmp_path / "table.csv", tmp_path)
