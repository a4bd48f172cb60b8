"""What of a run's best model is published: a list of names that are allowed, and the reasons for what is left out."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdrop_cli.core.progress import Progress, no_progress
from rdrop_cli.core.publishing.card import published_card
from rdrop_cli.core.publishing.local_paths import LocalPaths
from rdrop_cli.core.runs import layout, onnx_export, verification
from rdrop_cli.core.storage import integrity
from rdrop_cli.core.storage.lock import has_writer
from rdrop_cli.errors import CheckpointError

_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json")
_TOKENIZER = frozenset(
    {
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
        "vocab.json", "merges.txt", "bpe.codes", "tokenizer.model", "spiece.model", "spm.model",
        "sentencepiece.model", "sentencepiece.bpe.model", "chat_template.jinja",
    }
)  # fmt: skip
_REWRITTEN = ("config.json", "tokenizer_config.json", layout.CARD)
"""JSON that may say where something was on this machine. tokenizer.json stays as it is: an export depends on it."""
_OF_THIS_MACHINE = ("_name_or_path", "name_or_path", "is_local", "local_files_only")
"""Keys of such JSON that say where a model was loaded from."""
_OF_THE_CLASSES = ("id2label", "label2id", "labels", "label_ids", "columns", "threshold")
"""Keys of such JSON with names from the data, which must stay as they are."""
_EXPORT = frozenset({integrity.MANIFEST, *(f"{name}{end}" for name in onnx_export.FILES for end in ("", ".data"))})


@dataclass(frozen=True)
class File:
    """A file to publish.

    Attributes:
        path: In the repository.
        size: In bytes.
        content: The file on disk, or the bytes themselves if they differ from those on disk.
    """

    path: str
    size: int
    content: Path | bytes


@dataclass(frozen=True)
class Contents:
    """What is published of a run.

    Attributes:
        run: Its folder.
        labels: The names of its classes.
        has_pairs: It takes pairs of texts.
        left_out: The reason for each file or folder of best/ that stays behind, by its path there.
    """

    run: Path
    files: tuple[File, ...]
    left_out: dict[str, str]
    labels: tuple[str, ...]
    has_pairs: bool

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def may_be_published(path: str) -> bool:
    """True for a path in a repository that a push could have written."""
    folder, _, name = path.rpartition("/")
    if folder:
        return folder == onnx_export.FOLDER and name in _EXPORT
    is_listed = name in {layout.README, layout.CARD, "config.json"} or name in _TOKENIZER
    return is_listed or _WEIGHTS.fullmatch(name) is not None


def gather(run: Path, repository: str, on_progress: Progress = no_progress) -> Contents:
    """Everything that is published of a run, after a check that its model is intact.

    Args:
        repository: `owner/name`, for the card.
        on_progress: Called while files are verified and intervals computed.

    Raises:
        CheckpointError: the run is not finished, is in use, or is damaged; the hint says what to do.
    """
    _check_run(run)
    best = run / layout.BEST
    left_out: dict[str, str] = {}
    if onnx_export.is_exported(best) and (fault := verification.folder_fault(best / onnx_export.FOLDER)):
        left_out[f"{onnx_export.FOLDER}/"] = fault
    paths = LocalPaths.of_run(run)
    card = layout.read_json(best / layout.CARD)
    files = []
    for path in sorted(best.rglob("*")):
        name = path.relative_to(best).as_posix()
        if not path.is_file() or f"{name.partition('/')[0]}/" in left_out:
            continue
        if not may_be_published(name):
            left_out[name] = _why_not(name)
        elif name != layout.README:
            files.append(_file(path, name, paths))
    text = published_card(run, repository, card, paths, on_progress).encode()
    files.insert(0, File(layout.README, len(text), text))
    labels = card.get("labels")
    pair = (card.get("columns") or {}).get("text_pair")
    names = tuple(map(str, labels)) if isinstance(labels, list) else ()
    return Contents(run, tuple(files), left_out, names, pair is not None)


def _check_run(run: Path) -> None:
    """Make sure that a run is finished and its best model is intact.

    Raises:
        CheckpointError: it is not.
    """
    if not (run / layout.METRICS).is_file():
        hint = f"Resume with: {layout.resume_command(run)}"
        raise CheckpointError(f"{run}: its training is not finished, so its model may still change", hint)
    if has_writer(run):
        raise CheckpointError(f"{run}: another process is writing to this folder", "Wait until it ends.")
    best = run / layout.BEST
    if not best.is_dir() or (fault := verification.folder_fault(best)):
        # All of it, since the remedy depends on the rest.
        run_verification = verification.verify_runs([str(run.absolute())])[0]
        raise CheckpointError(f"{best}: {fault if best.is_dir() else 'folder not found'}", run_verification.remedy)
    if code := next(iter(sorted(best.glob("*.py"))), None):
        raise CheckpointError(
            f"{code}: the model needs Python code of its own, which rdrop does not publish",
            "Publish the folder with: hf upload OWNER/NAME FOLDER.",
        )


def _why_not(name: str) -> str:
    if name == integrity.MANIFEST:
        return "the hub has checksums of its own"
    return "not part of the model"


def _file(path: Path, name: str, paths: LocalPaths) -> File:
    if name in _REWRITTEN:
        content = layout.read_json(path)
        public = _without_place(content, paths)
        if public != content:
            text = (json.dumps(public, indent=2, ensure_ascii=False) + "\n").encode()
            return File(name, len(text), text)
    return File(name, path.stat().st_size, path)


def _without_place(content: Any, paths: LocalPaths) -> Any:
    """JSON without what it says about this machine."""
    if isinstance(content, dict):
        return {
            key: value if key in _OF_THE_CLASSES else _without_place(value, paths)
            for key, value in content.items()
            if key not in _OF_THIS_MACHINE
        }
    if isinstance(content, list):
        return [_without_place(value, paths) for value in content]
    return paths.hide(content) if isinstance(content, str) else content
