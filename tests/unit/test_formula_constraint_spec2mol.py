import numpy as np
import pandas as pd
import pytest
import torch
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from spec2mol import from_selfies, to_selfies
from spec2mol.data.tokenizer import build_tokenizer
from spec2mol.formula_constraint_spec2mol import DEAD, ENDED, Derivations, FormulaConstraint
from tests import builders


@pytest.fixture(scope="module")
def molecules(shared):
    """SMILES evenly spaced over the validation molecules."""
    smiles = pd.read_parquet(shared / "data" / "molecules" / "val.parquet", columns=["smiles"])["smiles"]
    return smiles.iloc[:: len(smiles) // 2000].tolist()


def formula_of(smiles):
    """With the charge: "C5H14NO+"."""
    return CalcMolFormula(Chem.MolFromSmiles(smiles))


def follow(tokenizer, smiles, texts):
    """Those texts whose own next symbol is forbidden at some step; all are followed at once."""
    derivations = Derivations(tokenizer, [formula_of(s) for s in smiles])
    ids = [[*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id] for text in texts]
    forbidden = np.zeros(len(ids), bool)
    for step in range(max(map(len, ids))):
        column = np.array([row[step] if step < len(row) else tokenizer.pad_token_id for row in ids])
        there = np.array([step < len(row) for row in ids])
        forbidden |= there & ~derivations.allowed[np.arange(len(ids)), column]
        derivations.advance(column)
    assert ((derivations.phase == ENDED) | forbidden).all()
    return [s for s, bad in zip(smiles, forbidden, strict=True) if bad]


@pytest.mark.parametrize("dialect", ["2.x", "1.x"])
def test_the_true_selfies_is_never_forbidden(molecules, dialect):
    written = [(smiles, text) for smiles in molecules if (text := to_selfies(smiles, dialect)) is not None]
    assert len(written) > 0.99 * len(molecules)
    tokenizer = build_tokenizer([smiles for smiles, _ in written], dialect)
    written.sort(key=lambda pair: len(pair[1]))
    batches = [written[i : i + 200] for i in range(0, len(written), 200)]
    assert [smiles for batch in batches for smiles in follow(tokenizer, *zip(*batch, strict=True))] == []


@pytest.mark.parametrize("dialect", ["2.x", "1.x"])
def test_what_ends_has_the_formula(molecules, dialect):
    """Symbols drawn at random among the allowed ones: far from anything that a model writes."""
    rng = np.random.default_rng(0)
    smiles = molecules[::10]
    tokenizer = build_tokenizer(smiles, dialect)
    formulas = [formula_of(s) for s in smiles]
    derivations = Derivations(tokenizer, formulas)
    texts = [[] for _ in formulas]
    for _ in range(150):
        chosen = (derivations.allowed * rng.random(derivations.allowed.shape)).argmax(1)
        for row in np.flatnonzero(derivations.phase < ENDED):
            texts[row].append(chosen[row])
        derivations.advance(chosen)
    ended = np.flatnonzero(derivations.phase == ENDED)
    assert len(ended) > len(formulas) / 10
    for row in ended:
        answer = from_selfies(tokenizer.decode(texts[row], skip_special_tokens=True), dialect)
        assert formula_of(answer) == formulas[row]


FORMULAS = ["C6H15NS", "C2H3O2-", "C8H11N", None]


class Checked(FormulaConstraint):
    """Compares what it follows from step to step with what a new constraint reads from the start."""

    def __init__(self, tokenizer, formulas):
        super().__init__(tokenizer, formulas)
        self.again = lambda: FormulaConstraint(tokenizer, formulas)
        self.reordered = False

    def __call__(self, input_ids, scores):
        before = self.ids
        allowed = super().__call__(input_ids, scores)
        assert torch.equal(allowed, self.again()(input_ids, scores))
        if before is not None and not np.array_equal(before, input_ids[:, :-1]):
            self.reordered = True
        return allowed


@torch.no_grad()
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_beams": 6, "num_return_sequences": 6},
        {"do_sample": True, "num_return_sequences": 6},
        {"do_sample": True, "num_beams": 3, "num_return_sequences": 2},
        {"num_beams": 3, "use_cache": False},
    ],
    ids=["greedy", "beams", "samples", "sampled beams", "beams without cache"],
)
def test_generate(options):
    """A batch of different formulas, one prompt without any."""
    torch.manual_seed(0)
    model, processor = builders.model(), builders.processor()
    constraint = Checked(processor.tokenizer, FORMULAS)
    inputs = processor(spectra=builders.spectra(), return_tensors="pt")
    ids = model.generate(**inputs, logits_processor=[constraint], max_new_tokens=40, **options)
    if "num_beams" in options:
        assert constraint.reordered
    rows = len(ids) // len(FORMULAS)
    finished = 0
    for row, smiles in enumerate(processor.decode_molecules(ids)):
        formula = FORMULAS[row // rows]
        complete = processor.tokenizer.eos_token_id in ids[row] and processor.tokenizer.unk_token_id not in ids[row]
        if formula is not None and complete:
            finished += 1
            assert formula_of(smiles) == formula
    assert finished


def test_tokens_of_a_padded_vocabulary_are_forbidden():
    tokenizer = builders.tokenizer()
    constraint = FormulaConstraint(tokenizer, ["C2H6O"])
    scores = constraint(torch.tensor([[tokenizer.bos_token_id]]), torch.zeros(1, len(tokenizer) + 7))
    assert scores[0, len(tokenizer) :].isneginf().all() and scores.isfinite().any()


def test_what_is_forbidden_kills():
    tokenizer = builders.tokenizer()
    derivations = Derivations(tokenizer, ["C2H6O", "C2H6O"])
    carbon, sulfur = tokenizer.convert_tokens_to_ids(["[C]", "[S]"])
    derivations.advance(np.array([carbon, sulfur]))
    assert (derivations.phase == DEAD).tolist() == [False, True]
    assert derivations.allowed[1].nonzero()[0].tolist() == [tokenizer.unk_token_id]


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("C2H5O", "odd number of electrons"),
        ("C2H6Se", "vocabulary has no Se"),
        ("H2", "no atoms but hydrogen"),
        ("C2H20O", "no molecule that the vocabulary writes"),
        ("C2H6Xx", "unknown element Xx"),
    ],
)
def test_impossible_formulas(formula, message):
    with pytest.raises(ValueError, match=message) as error:
        FormulaConstraint(builders.tokenizer(), [formula])
    assert formula in str(error.value)


def test_prompts_and_rows_must_match():
    tokenizer = builders.tokenizer()
    constraint = FormulaConstraint(tokenizer, ["C2H6O", "C2H6O"])
    with pytest.raises(ValueError, match="3 rows cannot be shared among 2 formulas"):
        constraint(torch.full((3, 1), tokenizer.bos_token_id), torch.zeros(3, len(tokenizer)))
    with pytest.raises(ValueError, match="start token"):
        constraint(torch.full((2, 1), tokenizer.eos_token_id), torch.zeros(2, len(tokenizer)))
