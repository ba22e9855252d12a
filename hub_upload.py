"""Shares a trained model on the Hugging Face Hub, once a stranger's process has shown that it works.

python hub_upload.py runs/align ORG/NAME --dry-run
python hub_upload.py runs/align ORG/NAME
python hub_upload.py runs/align ORG/NAME --public --revision v2 --message "Trained on 2025.05"
python hub_upload.py runs/lora ORG/NAME  # LoRA weights are merged into the model they adapt
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from huggingface_hub import HfApi
from huggingface_hub.utils import validate_repo_id

from spec2mol.hub.staging import stage
from spec2mol.hub.verify import VerificationError, expect, verify
from spec2mol.loading import load_model
from spec2mol.spectra import load_spectra

EXAMPLES = Path(__file__).parent / "examples" / "known_compounds.mgf"
MOLECULES = ("CC(=O)Oc1ccccc1C(=O)O", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "C[C@H](N)C(=O)O", "CCO")
# What an earlier upload may have left, to be loaded beside or instead of what was verified.
STALE = ["*.py", "*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "adapter_config.json"]


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 after one line on what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="what train.py wrote: a model, or LoRA weights")
    parser.add_argument("repo_id", metavar="ORG/NAME", help="repository on the Hub, made if it is not there")
    parser.add_argument("--public", action="store_true", help="make a new repository public (default: private)")
    parser.add_argument("--revision", help="branch to write to, made if it is not there (default: main)")
    parser.add_argument("--message", default="Upload spec2mol model", help="of the commit")
    parser.add_argument("--license", help="of the weights, as the Hub spells it (default: from card or training data)")
    parser.add_argument("--dry-run", action="store_true", help="stage and verify only; the staged folder stays")
    parser.add_argument("--staged", type=Path, metavar="DIR", help="new folder to stage in (default: a temporary one)")
    args = parser.parse_args(argv)
    try:
        validate_repo_id(args.repo_id)
        if "/" not in args.repo_id:
            raise ValueError(f"{args.repo_id}: the repository is ORG/NAME")
        if not args.folder.is_dir():
            raise ValueError(f"{args.folder}: no such folder")
        if not args.dry_run:
            with hub_errors():
                HfApi().whoami()  # Who is not logged in should hear it before the work.
        staged = args.staged or Path(mkdtemp(prefix="spec2mol-upload-"))
        if staged.exists() and (not staged.is_dir() or any(staged.iterdir())):
            raise ValueError(f"{staged} is not empty: name a new folder")
        stage_and_verify(args.folder, staged, args.repo_id, args.license)
        if args.dry_run:
            print(f"nothing uploaded; the staged folder is {staged}")
            return 0
        print(upload(staged, args.repo_id, args.public, args.revision, args.message))
    except (ValueError, OSError) as error:
        print(f"hub_upload: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    if args.staged is None:
        shutil.rmtree(staged)
    return 0


def stage_and_verify(folder: Path, staged: Path, repo_id: str, license: str | None = None):
    """Fills `staged`, which then answers a stranger as `folder` answers us.

    Raises:
        ValueError: nothing that can be staged.
        VerificationError: a file of the staged folder, which stays for a look, is wrong.
    """
    print(f"staging {folder}")
    try:
        stage(folder, staged, repo_id, license)
    except ValueError:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    print("verifying in a fresh process, offline and without spec2mol")
    source, processor = load_model(str(folder), merge=False)
    try:
        reads_molecules = processor.feature_extractor.molecules is not None
        queries = [{"smiles": smiles} for smiles in MOLECULES] if reads_molecules else list(load_spectra(EXAMPLES))
        print(verify(staged, repo_id, expect(source, processor, queries)))
    except VerificationError as error:
        raise VerificationError(f"{error}; nothing uploaded, the staged folder is {staged}") from error


def upload(staged: Path, repo_id: str, public: bool, revision: str | None, message: str) -> str:
    """Address of the commit.

    Raises:
        OSError: the Hub refuses or does not answer.
    """
    api = HfApi()
    with hub_errors():
        api.create_repo(repo_id, private=not public, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id, folder_path=staged, revision=revision, commit_message=message, delete_patterns=STALE
        )
    return commit.commit_url


@contextmanager
def hub_errors() -> Iterator[None]:
    """Errors of the HTTP client, which huggingface_hub lets through, become OSErrors as its own are."""
    try:
        yield
    except (ValueError, OSError):
        raise
    except Exception as error:
        cause = f" {error.__cause__}" if error.__cause__ else ""
        raise ConnectionError(f"{HfApi().endpoint}: {error}{cause}") from error


if __name__ == "__main__":
    sys.exit(main())
