"""The `spec2mol` command: each verb is a file of this folder with `add_arguments(parser)` and `run(args)`, which
returns the exit code."""

import argparse
import sys
from importlib import import_module

import torch
import transformers

from .. import __version__

VERBS = {
    "predict": "ranked structures for the spectra in files",
    "report": "the same as a page to look at: structures, explained spectra, library matches",
    "rank": "known molecules of each spectrum's mass, the likeliest first",
    "search": "the spectra of a library that resemble each spectrum most",
    "build-store": "molecules prepared for rank",
    "build-library": "annotated spectra prepared for search",
    "embed": "one vector for each spectrum in a file",
    "evaluate": "figures of a model on labelled spectra, with and without peaks",
    "fit-ranking": "weights and probabilities for a model's answers, from labelled spectra it has not seen",
    "evaluate-encoder": "figures of a spectrum encoder: fingerprints, fluorine or similarity",
    "evaluate-tasks": "figures of a model's written answers to tasks, see tasks/",
    "evaluate-retrieval": "molecules and texts that belong together, found by the text branch of a model",
    "simulate": "simulated spectra for the structures in a file",
    "convert-dreams": "an official DreaMS checkpoint -> a folder for from_pretrained",
    "convert-unimol": "a released Uni-Mol checkpoint -> a folder for from_pretrained",
    "convert-3d-molm": "a released checkpoint of 3D-MoLM -> a folder for from_pretrained",
    "convert-llamo": "a released checkpoint of LLaMo -> a folder for from_pretrained",
    "build-tokenizer": "a SELFIES tokenizer from a file of structures, or one of text from tasks",
    "build-tasks": "rows for tasks, made from molecules: reactions, actions, names, conversations",
    "build-dataset": "a folder of training data, ready for the Hub, from labelled spectra",
    "build-facts": "molecules with computed properties, functional groups and conformers, for tasks",
    "info": "what a model is made of, trained on and worth",
}


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 after one line on what was wrong and how to mend it."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="spec2mol", description="Molecular structures from tandem mass spectra.")
    versions = f"spec2mol {__version__}, torch {torch.__version__}, transformers {transformers.__version__}"
    parser.add_argument("--version", action="version", version=versions)
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for name, summary in VERBS.items():
        verb = verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if name in argv[:1]:  # Only the one that is used: some take seconds to import.
            module = import_module(f".{name.replace('-', '_')}", __package__)
            module.add_arguments(verb)
            verb.set_defaults(run=module.run)
    args = parser.parse_args(argv)

    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        return args.run(args)
    except (ValueError, OSError) as error:
        print(f"spec2mol: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
