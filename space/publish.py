"""Makes a Hugging Face Space: the app, and a wheel of this checkout, since spec2mol is not on PyPI.

python space/publish.py ORG/NAME --dry-run
python space/publish.py ORG/NAME
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

from huggingface_hub import HfApi, constants
from huggingface_hub.utils import validate_repo_id

from spec2mol.hub_upload import hub_errors

SPACE = Path(__file__).parent


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 after one line on what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repo_id", metavar="ORG/NAME", help="Space on the Hub, made if it is not there")
    parser.add_argument("--dry-run", action="store_true", help="upload nothing; the staged folder stays")
    args = parser.parse_args(argv)
    try:
        validate_repo_id(args.repo_id)
        if "/" not in args.repo_id:
            raise ValueError(f"{args.repo_id}: the Space is ORG/NAME")
        staged = Path(mkdtemp(prefix="spec2mol-space-"))
        stage(staged, args.repo_id)
        if args.dry_run:
            print(f"nothing uploaded; the staged folder is {staged}")
            return 0
        print(upload(staged, args.repo_id))
    except (ValueError, OSError) as error:
        print(f"publish: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    shutil.rmtree(staged)
    return 0


def stage(target: Path, repo_id: str):
    """Writes into `target` what the Space needs. Raises ValueError where no wheel can be built."""
    for name in ("app.py", "README.md"):
        shutil.copy(SPACE / name, target)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", target, SPACE.parent]
    if subprocess.run(command).returncode:
        raise ValueError(f"{SPACE.parent}: pip cannot build a wheel of it, see above")
    (wheel,) = target.glob("*.whl")
    # A Space installs its requirements before it has its files: the wheel is fetched from its own address.
    address = f"{constants.ENDPOINT}/spaces/{repo_id}/resolve/main/{wheel.name}"
    (target / "requirements.txt").write_text(f"spec2mol[demo] @ {address}\n")


def upload(staged: Path, repo_id: str) -> str:
    """Address of the Space. Raises OSError: the Hub refuses or does not answer."""
    api = HfApi()
    with hub_errors():
        address = api.create_repo(repo_id, repo_type="space", space_sdk="gradio", exist_ok=True)
        api.upload_folder(
            repo_id=repo_id,
            repo_type="space",
            folder_path=staged,
            commit_message="Publish the spec2mol Space",
            delete_patterns="*.whl",
        )
    return str(address)


if __name__ == "__main__":
    sys.exit(main())
