"""A checkpoint's ONNX export: the folder onnx/ beside its weights, and whether that is whole and current.

The layout is that in which transformers.js, optimum and text-embeddings-inference look for a model: config.json and
tokenizer.json, and below them onnx/model.onnx and onnx/model_quantized.onnx. onnx/manifest.json describes the files and
how the model expects its input. Nothing here imports an ONNX library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rdrop_cli.core.runs import layout
from rdrop_cli.core.storage import integrity, shell
from rdrop_cli.errors import CheckpointError

if TYPE_CHECKING:
    from rdrop_cli.core.runs.checkpoint import Checkpoint

FOLDER = "onnx"
FLOAT32, INT8 = FILES = "model.onnx", "model_quantized.onnx"
TOKENIZER = "tokenizer.json"
_FORMAT = 1


@dataclass(frozen=True)
class TextInput:
    """How an exported model expects its input.

    Attributes:
        names: The inputs of the graph.
        max_length: Longest input in tokens.
        batch_size: Texts per forward pass, unless the user says otherwise.
        pad_id: Fills `input_ids`.
        pad_type_id: Fills `token_type_ids`.
        padding_side: Where the padding goes.
        truncation_side: Where a text that is too long is cut.
        exact_length: Texts of different lengths do not share a batch, because padding changes the logits.
    """

    names: tuple[str, ...]
    max_length: int
    batch_size: int
    pad_id: int
    pad_type_id: int = 0
    padding_side: Literal["left", "right"] = "right"
    truncation_side: Literal["left", "right"] = "right"
    exact_length: bool = False


@dataclass(frozen=True)
class OnnxExport:
    """What onnx/manifest.json records.

    Attributes:
        folder: onnx/.
        made_from: SHA-256 of each file of the checkpoint that the export depends on: its weights and its tokenizer.
        text_input: How the model expects its input.
        labels: The names of the classes when it was exported.
        check: The comparison with PyTorch that the export passed.
    """

    folder: Path
    made_from: Mapping[str, str]
    text_input: TextInput
    labels: tuple[str, ...]
    check: Mapping[str, Any]

    @property
    def tokenizer(self) -> Path:
        """The checkpoint's tokenizer."""
        return self.folder.parent / TOKENIZER

    def manifest(self) -> str:
        """The content of manifest.json for the files that the folder contains."""
        return integrity.with_checksum(
            {
                "format": _FORMAT,
                "files": integrity.listing(self.folder),
                "made_from": dict(self.made_from),
                "text_input": asdict(self.text_input),
                "labels": list(self.labels),
                "check": dict(self.check),
            }
        )


def is_exported(model: Path) -> bool:
    """True if a checkpoint's folder has an ONNX export, whatever its state."""
    return (model / FOLDER).is_dir()


def read_export(folder: Path) -> OnnxExport:
    """What the manifest of an export records.

    Args:
        folder: onnx/.

    Raises:
        CheckpointError: the manifest is missing, damaged, or of a later version of rdrop.
    """
    path = folder / integrity.MANIFEST
    content = layout.read_json(path)
    if not integrity.checksum_holds(content):
        raise CheckpointError(f"{path}: is damaged")
    if content["format"] != _FORMAT:
        raise CheckpointError(f"{path}: written by a later version of rdrop (format {content['format']})")
    text_input = {**content["text_input"], "names": tuple(content["text_input"]["names"])}
    return OnnxExport(folder, content["made_from"], TextInput(**text_input), tuple(content["labels"]), content["check"])


def check_export(export: OnnxExport, file: str) -> None:
    """Make sure that a model of an export is intact, and made from the checkpoint's present weights and tokenizer.

    Only the export and the tokenizer are read; for the weights, the checkpoint's own manifest is relied on.

    Args:
        file: `FLOAT32` or `INT8`.

    Raises:
        CheckpointError: it is not.
    """
    if not (export.folder / file).is_file():
        raise CheckpointError(f"{export.folder / file}: file not found")
    large = f"{file}.data"  # where the weights are too large for one file
    needed = (file, large) if large in integrity.recorded_digests(export.folder) else (file,)
    if fault := integrity.damage(export.folder, only=needed):
        raise CheckpointError(f"{export.folder}: {fault}")
    if changed := changed_source(export):
        raise CheckpointError(f"{export.folder / file}: is out of date, because {changed} has changed since the export")


def changed_source(export: OnnxExport) -> str | None:
    """The first file of the checkpoint that is no longer what the export was made from; None: all are.

    A folder without weights, such as `rdrop export --out` writes, has nothing that could be newer than the export.
    """
    model = export.folder.parent
    recorded = integrity.recorded_digests(model)
    present = digests_of_sources(model, recorded)
    if not any(name.endswith(".safetensors") for name in present):
        present = {**{name: digest for name, digest in export.made_from.items() if name != TOKENIZER}, **present}
    names = [*export.made_from, *present]
    return next((name for name in names if export.made_from.get(name) != present.get(name)), None)


def digests_of_sources(model: Path, recorded: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of each file of a checkpoint that an export depends on.

    Args:
        recorded: SHA-256 of files that need not be read.
    """
    digests = {path.name: recorded.get(path.name) or integrity.sha256_of(path) for path in weights_of(model)}
    if (model / TOKENIZER).is_file():
        digests[TOKENIZER] = integrity.sha256_of(model / TOKENIZER)
    return digests


def weights_of(model: Path) -> list[Path]:
    """The files with a checkpoint's weights."""
    return sorted(model.glob("*.safetensors"))


def export_command(checkpoint: Checkpoint, *, int8: bool = False) -> str:
    """The command that makes a checkpoint's export, or makes it again."""
    words = ["rdrop", "export", str(checkpoint.run or checkpoint.name)]
    return shell.join([*words, "--int8"] if int8 else words)
