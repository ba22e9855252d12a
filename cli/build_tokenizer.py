"""`spec2mol build-tokenizer STRUCTURES OUT_DIR`: a closed-vocabulary SELFIES tokenizer from a file of molecules; or
`spec2mol build-tokenizer tasks/NAME.yaml OUT_DIR`: one of text and SMILES, from the training rows of tasks."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace

from tqdm import tqdm

from ..characters_spec2mol import remove_characters
from ..chemistry_spec2mol import SELFIES_DIALECTS
from ..data.tasks import Task, load_tasks, task_rows
from ..data.text_tokenizer import build_text_tokenizer
from ..data.tokenizer import build_tokenizer
from .structures import add_structures_argument, read_structures


def add_arguments(parser):
    add_structures_argument(parser, "; .yaml of tasks")
    parser.add_argument("output", type=Path, metavar="OUT_DIR", help="folder to write")
    parser.add_argument(
        "--dialect", choices=SELFIES_DIALECTS, default="2.x", help="of SELFIES; ChemGPT's is 1.x (default: 2.x)"
    )
    parser.add_argument("--size", type=int, default=4000, help="of tasks: at most so many tokens (default: 4000)")
    parser.add_argument(
        "--smiles", action="store_true", help="of tasks: parentheses and dots, as digits, are tokens by themselves"
    )
    parser.add_argument(
        "--characters", action="store_true", help="of tasks: molecules, proteins and nucleotides by character tokens"
    )


def run(args) -> int:
    if args.structures.suffix in (".yaml", ".yml"):
        texts = training_texts(load_tasks(args.structures))
        tokenizer = build_text_tokenizer(texts, args.size, args.characters, args.smiles)
        tokenizer.save_pretrained(args.output)
        print(f"{args.output}: {len(tokenizer)} tokens of text and SMILES")
        return 0
    structures = read_structures(args.structures)
    with ProcessPoolExecutor() as pool:

        def encode(function, smiles):
            return tqdm(pool.map(function, smiles, chunksize=1000), total=len(smiles), unit=" structures")

        tokenizer = build_tokenizer(structures, args.dialect, map=encode)
    tokenizer.save_pretrained(args.output)
    print(f"{args.output}: {len(tokenizer)} tokens, SELFIES {args.dialect}")
    return 0


def training_texts(tasks: Mapping[str, Task]) -> Iterator[str]:
    """All messages of all training rows; of what is written in character tokens, nothing but these is needed."""
    no_model = SimpleNamespace(soft_tokens="", dialect="2.x")
    for name, task in tasks.items():
        for row in tqdm(task_rows(task, "train"), desc=f"Reading {name}", unit=" rows", disable=None):
            for message in task.conversation(row, no_model):
                yield remove_characters(message["content"])
