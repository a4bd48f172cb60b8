"""Export a run's best model to ONNX: write, check, and only then keep."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rdrop_cli import threads
from rdrop_cli.core.exporting import check, graph
from rdrop_cli.core.exporting.check import Sample
from rdrop_cli.core.inference.backends.onnx import OnnxBackend
from rdrop_cli.core.inference.backends.torch import TorchBackend
from rdrop_cli.core.inference.classifier import Classifier
from rdrop_cli.core.inference.examples import examples_of_run
from rdrop_cli.core.inference.measuring import true_classes
from rdrop_cli.core.model import probes
from rdrop_cli.core.model.cpu import describe_cpu
from rdrop_cli.core.runs import layout, onnx_export
from rdrop_cli.core.runs.onnx_export import FLOAT32, INT8, OnnxExport, TextInput
from rdrop_cli.core.storage import integrity
from rdrop_cli.core.storage.files import sweep, writing_folder
from rdrop_cli.core.storage.lock import only_writer
from rdrop_cli.errors import CheckpointError, ModelError

if TYPE_CHECKING:
    from rdrop_cli.core.progress import Progress
    from rdrop_cli.core.runs.checkpoint import Checkpoint

MOST_TEXTS = 1000
"""Of the validation split that an export is checked on."""
SPLIT = "validation"
_SEED = 0
_COPIED = ("config.json", "tokenizer.json", "tokenizer_config.json", layout.CARD, "README.md")
"""Files of a checkpoint that belong to an export in a folder of its own; all but the first two may be missing."""


@dataclass(frozen=True)
class Exported:
    """A finished export.

    Attributes:
        folder: onnx/.
        sizes: Bytes of each file.
        check: The comparison with PyTorch, as the manifest records it.
        refused: Why the int8 model was not kept; None: it was, or was not wanted.
        seconds: What it took.
    """

    folder: Path
    sizes: Mapping[str, int]
    check: Mapping[str, Any]
    refused: str | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The document that `rdrop export --json` prints."""
        return {
            "folder": str(self.folder),
            "bytes": dict(self.sizes),
            "check": dict(self.check),
            "refused": self.refused,
            "seconds": self.seconds,
        }


def export_run(
    checkpoint: Checkpoint,
    *,
    int8: bool = False,
    out: Path | None = None,
    most_texts: int = MOST_TEXTS,
    on_progress: Progress = lambda stage, done, total: None,
) -> Exported:
    """Export a run's best model, and check it against PyTorch on the run's validation texts.

    Args:
        checkpoint: The result of `find_checkpoint`, of a run.
        int8: Also write the 8-bit model; done anyway if the export to be replaced has one.
        out: A folder for everything that the export needs, without the PyTorch weights; None: onnx/ beside them.
        most_texts: Most texts to compare on; more are sampled.
        on_progress: Called while the model is exported and compared.

    Raises:
        CheckpointError: the checkpoint belongs to no run, or another process writes to the run.
        DataError: the run's data is missing or has changed.
        ModelError: the model cannot be exported, or its float32 export gives other probabilities than PyTorch.
        StorageError: the export cannot be written.
    """
    began = time.perf_counter()
    model = Path(checkpoint.name)
    if not model.is_dir() or not (model / onnx_export.TOKENIZER).is_file():
        raise CheckpointError(f"{model}: has no {onnx_export.TOKENIZER}, which prediction without PyTorch needs")
    if out is not None:
        _check_out(out)
    reference = TorchBackend(checkpoint, precision="float32", device="cpu")
    sample = _sample(checkpoint, reference, most_texts, on_progress)
    if out is None:
        int8 = int8 or (model / onnx_export.FOLDER / INT8).is_file()
        with only_writer(checkpoint.run or model):
            sweep(model)
            with writing_folder(model / onnx_export.FOLDER) as folder:
                exported = _write(checkpoint, reference, sample, folder, int8, on_progress)
        return replace(exported, folder=model / onnx_export.FOLDER, seconds=time.perf_counter() - began)
    with writing_folder(out) as staging:
        for name in _COPIED:
            if (model / name).is_file():
                shutil.copy2(model / name, staging / name)
        (staging / onnx_export.FOLDER).mkdir()
        exported = _write(checkpoint, reference, sample, staging / onnx_export.FOLDER, int8, on_progress)
    return replace(exported, folder=out / onnx_export.FOLDER, seconds=time.perf_counter() - began)


def _write(
    checkpoint: Checkpoint,
    reference: TorchBackend,
    sample: Sample,
    folder: Path,
    int8: bool,
    on_progress: Progress,
) -> Exported:
    """Fill an empty folder with the export."""
    on_progress("Exporting to ONNX", 0, None)
    names = graph.input_names(reference)
    graph.write_float32(reference, names, folder / FLOAT32)
    if int8:
        on_progress("Quantizing", 0, None)
        graph.write_int8(folder / FLOAT32, folder / INT8)
    model = Path(checkpoint.name)
    export = OnnxExport(
        folder,
        onnx_export.digests_of_sources(model, integrity.recorded_digests(model)),
        _text_input(reference, names),
        reference.labels.names,
        {},
    )
    record = _check(checkpoint, reference, export, sample, int8, on_progress)
    refused = None
    if int8 and (share := record["onnx-int8"]["labels_changed"] / record["texts"]) > check.MOST_CHANGED:
        refused = (
            f"the int8 model changes {share:.1%} of the labels, more than {check.MOST_CHANGED:.0%}, so it was not kept"
        )
        for path in folder.glob(f"{INT8}*"):
            path.unlink()
    (folder / integrity.MANIFEST).write_text(replace(export, check=record).manifest(), encoding="utf-8")
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != integrity.MANIFEST}
    return Exported(folder, sizes, record, refused, 0.0)


def _check(
    checkpoint: Checkpoint,
    reference: TorchBackend,
    export: OnnxExport,
    sample: Sample,
    int8: bool,
    on_progress: Progress,
) -> dict[str, Any]:
    """Compare an export with PyTorch, and return what the manifest records of it.

    Raises:
        ModelError: the float32 export gives other probabilities.
    """
    expected = Classifier(reference)
    classifiers = {"torch-float32": expected, "onnx": Classifier(OnnxBackend(export))}
    _check_shapes(expected, classifiers["onnx"])
    usual = TorchBackend(checkpoint, device="cpu")  # what `rdrop predict --backend torch` runs
    if usual.precision != "float32":
        classifiers["torch"] = Classifier(usual)
    if int8:
        classifiers["onnx-int8"] = Classifier(OnnxBackend(export, quantized=True))
    found, rates = check.compare_backends(classifiers, sample, on_progress)
    results = {
        name: {
            "precision": classifiers[name].backend.precision,
            "texts_per_second": rates[name],
            **check.agreement(values, found["torch-float32"], sample.labels),
        }
        for name, values in found.items()
    }
    results.setdefault("torch", results["torch-float32"])
    _require_equal(results["onnx"]["largest_difference"], f"{SPLIT} texts")
    cpu, features = describe_cpu()
    return {
        "split": SPLIT,
        "texts": len(sample.texts),
        **results,
        "faster": "onnx" if rates["onnx"] >= results["torch"]["texts_per_second"] else "torch",
        "cpu": {"name": cpu, "features": features, "threads": threads.chosen() or threads.share()},
        "versions": {name: metadata.version(name) for name in ("torch", "transformers", "onnx", "onnxruntime")},
    }


def _check_shapes(expected: Classifier, found: Classifier) -> None:
    """Compare on inputs that real texts may not cover: a short and the longest possible one, each in a batch alone.

    Raises:
        ModelError: the two give other probabilities.
    """
    backend = expected.backend
    assert isinstance(backend, TorchBackend)
    for length in (probes.SHORT, backend.max_length):
        rows = probes.made_up(backend.tokenizer, backend.model, [min(length, backend.max_length)])
        difference = np.abs(found.probabilities(rows) - expected.probabilities(rows)).max()
        _require_equal(float(difference), f"an input of {length} tokens")


def _require_equal(difference: float, where: str) -> None:
    if not difference <= check.LARGEST_DIFFERENCE:
        raise ModelError(
            f"the ONNX export gives other probabilities than PyTorch (by up to {difference:.2g}, on {where})",
            "It was not kept. Use PyTorch for this model.",
        )


def _sample(checkpoint: Checkpoint, backend: TorchBackend, most: int, on_progress: Progress) -> Sample:
    """Validation texts of the checkpoint's run."""
    if checkpoint.run is None:
        raise CheckpointError(
            f"{checkpoint.name}: not part of a run, so there are no texts to check an export on",
            "Give a run; rdrop runs lists them.",
        )
    examples = examples_of_run(checkpoint, SPLIT, on_progress)
    truth, _ = true_classes(backend.labels, examples)
    chosen = np.arange(len(truth))
    if len(chosen) > most:
        chosen = np.sort(np.random.default_rng(_SEED).choice(chosen, size=most, replace=False))
    pairs = examples.pairs
    return Sample(
        [examples.texts[index] for index in chosen],
        None if pairs is None else [pairs[index] for index in chosen],
        truth[chosen],
    )


def _text_input(backend: TorchBackend, names: tuple[str, ...]) -> TextInput:
    tokenizer = backend.tokenizer
    return TextInput(
        names=names,
        max_length=backend.max_length,
        batch_size=backend.batch_size,
        pad_id=tokenizer.pad_token_id,
        pad_type_id=tokenizer.pad_token_type_id,
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        exact_length=backend.by_exact_length,
    )


def _check_out(out: Path) -> None:
    """Refuse a folder that the export would replace, unless it is an earlier export.

    Raises:
        CheckpointError: it contains something else.
    """
    if not out.exists() or (out.is_dir() and not os.listdir(out)):  # noqa: PTH208 - the order does not matter
        return
    is_export = out.is_dir() and onnx_export.is_exported(out) and not onnx_export.weights_of(out)
    if not is_export or not (out / "config.json").is_file():
        raise CheckpointError(f"{out}: already exists and is not an export", "Give another --out.")
