"""Export a run's best model to ONNX: write, check, and only then keep."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rdrop_cli import threads
from rdrop_cli.core.data.labels import LabelMap
from rdrop_cli.core.exporting import check, destination, graph
from rdrop_cli.core.exporting.check import Sample
from rdrop_cli.core.inference.backends.onnx import OnnxBackend
from rdrop_cli.core.inference.backends.torch import TorchBackend
from rdrop_cli.core.inference.classifier import Classifier
from rdrop_cli.core.inference.examples import examples_of_run
from rdrop_cli.core.inference.measuring import true_classes
from rdrop_cli.core.model import probes, torch_threads
from rdrop_cli.core.model.cpu import describe_cpu
from rdrop_cli.core.progress import Progress, no_progress
from rdrop_cli.core.runs import onnx_export
from rdrop_cli.core.runs.onnx_export import FLOAT32, INT8, OnnxExport, TextInput
from rdrop_cli.core.storage import extras, integrity
from rdrop_cli.errors import DataError, ModelError

if TYPE_CHECKING:
    from rdrop_cli.core.inference.examples import Examples
    from rdrop_cli.core.runs.checkpoint import Checkpoint

MOST_TEXTS = 1000
"""Of the validation split that an export is checked on."""
SPLIT = "validation"
_SEED = 0


@dataclass(frozen=True)
class ExportResult:
    """A finished export.

    Attributes:
        folder: onnx/.
        sizes: Bytes of each file.
        weights: Bytes of the PyTorch weights.
        check: The comparison with PyTorch, as the manifest records it.
        refused: Why the int8 model was not kept; None: it was, or was not wanted.
        seconds: What it took.
    """

    folder: Path
    sizes: Mapping[str, int]
    weights: int
    check: Mapping[str, Any]
    refused: str | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The document that `rdrop export --json` prints."""
        return {
            "folder": str(self.folder),
            "bytes": dict(self.sizes),
            "weights_bytes": self.weights,
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
    trust_remote_code: bool = False,
    on_progress: Progress = no_progress,
) -> ExportResult:
    """Export a run's best model, and check it against PyTorch on the run's validation texts.

    Args:
        checkpoint: The result of `find_checkpoint`, of a run.
        int8: Also write the 8-bit model; done anyway if the export to be replaced has one.
        out: A folder for everything that prediction needs, without the PyTorch weights; None: onnx/ beside them.
        most_texts: Most texts to compare on; more are sampled.
        trust_remote_code: Run Python code that comes with the model.
        on_progress: Called while the model is exported and compared.

    Raises:
        CheckpointError: the checkpoint is not a run's best model, `out` cannot be used, or another process writes to
            the run.
        DataError: the run's data is missing or has changed.
        ModelError: an ONNX package is missing, the model cannot be exported, or its float32 export gives other
            probabilities than PyTorch.
        StorageError: the export cannot be written.
    """
    began = time.perf_counter()
    extras.ONNX.require("exporting")
    run = destination.check_source(checkpoint)
    if out is not None:
        destination.check_out(out, run)
    torch_threads.apply_thread_limit()
    try:
        examples = examples_of_run(checkpoint, SPLIT, on_progress)
    except DataError as error:
        raise DataError(error.message, "Restore it: an export is checked on it.") from error
    model = Path(checkpoint.name)
    final = (out or model) / onnx_export.FOLDER
    with destination.place_for(run, out) as folder:
        made_from = onnx_export.digests_of_sources(model, integrity.recorded_digests(model))
        on_progress("Exporting to ONNX", 0, None)
        load = partial(TorchBackend, checkpoint, device="cpu", trust_remote_code=trust_remote_code)
        reference = load(precision="float32")
        sample = _sample(checkpoint, reference, examples, most_texts)
        names = graph.input_names(reference)
        export = OnnxExport(folder, made_from, text_input(reference, names), reference.labels.names, {})
        graph.write_float32(reference, names, folder / FLOAT32, trust_remote_code=trust_remote_code)
        refused = None
        if int8 or (final / INT8).is_file():
            on_progress("Quantizing", 0, None)
            refused = _write_int8(folder)
        record = _check(reference, load, export, sample, on_progress)
        refused = refused or _refuse_int8(folder, record)
        (folder / integrity.MANIFEST).write_text(replace(export, check=record).manifest(), encoding="utf-8")
        sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != integrity.MANIFEST}
    weights = sum(path.stat().st_size for path in onnx_export.weights_of(model))
    return ExportResult(final, sizes, weights, record, refused, time.perf_counter() - began)


def _write_int8(folder: Path) -> str | None:
    """Add the 8-bit model to an export, and return why there is none."""
    try:
        graph.write_int8(folder / FLOAT32, folder / INT8)
    except ModelError as error:
        _remove_int8(folder)
        return error.message
    return None


def _refuse_int8(folder: Path, record: Mapping[str, Any]) -> str | None:
    """Remove an 8-bit model that changes too many labels, and return the reason."""
    if "onnx-int8" not in record:
        return None
    share = record["onnx-int8"]["labels_changed"] / record["texts"]
    if share <= check.MOST_CHANGED:
        return None
    _remove_int8(folder)
    return f"the int8 model changes {share:.1%} of the labels, more than {check.MOST_CHANGED:.0%}, so it was not kept"


def _remove_int8(folder: Path) -> None:
    for path in folder.glob(f"{INT8}*"):
        path.unlink()


def _check(
    reference: TorchBackend,
    load: Callable[[], TorchBackend],
    export: OnnxExport,
    sample: Sample,
    on_progress: Progress,
) -> dict[str, Any]:
    """Compare an export with PyTorch, and return what the manifest records of it.

    Args:
        load: Loads what `rdrop predict --backend torch` runs on this machine's CPU.

    Raises:
        ModelError: the float32 export gives other tokens or probabilities.
    """
    expected = Classifier(reference)
    classifiers = {"torch-float32": expected, "onnx": Classifier(OnnxBackend(export))}
    check.require_equal_tokens(expected, classifiers["onnx"], sample)
    _check_shapes(expected, classifiers["onnx"])
    usual = load()
    if usual.precision != "float32":
        classifiers["torch"] = Classifier(usual)
    if (export.folder / INT8).is_file():
        classifiers["onnx-int8"] = Classifier(OnnxBackend(export, quantized=True))
    probabilities, rates = check.compare_backends(classifiers, sample, on_progress)
    results = {
        name: {
            "precision": classifiers[name].backend.precision,
            "texts_per_second": rates[name],
            **check.agreement(values, probabilities["torch-float32"], sample.labels),
        }
        for name, values in probabilities.items()
    }
    results.setdefault("torch", results["torch-float32"])
    _require_equal(results["onnx"]["largest_difference"], f"{SPLIT} texts")
    cpu, features = describe_cpu()
    return {
        "split": SPLIT,
        "texts": len(sample.texts),
        **results,
        "faster": "onnx" if rates["onnx"] >= results["torch"]["texts_per_second"] else "torch",
        "cpu": {
            "name": cpu,
            "features": features,
            "threads": threads.requested_threads() or threads.cores_per_process(),
        },
        "versions": {name: metadata.version(name) for name in ("torch", "transformers", "onnx", "onnxruntime")},
    }


def _check_shapes(expected: Classifier, exported: Classifier) -> None:
    """Compare on inputs that real texts may not cover: a short and the longest possible one, each in a batch alone.

    Raises:
        ModelError: the two give other probabilities.
    """
    backend = expected.backend
    assert isinstance(backend, TorchBackend)
    for length in (probes.SHORT, backend.max_length):
        rows = probes.made_up(backend.tokenizer, backend.model, [min(length, backend.max_length)])
        difference = np.abs(exported.probabilities(rows) - expected.probabilities(rows)).max()
        _require_equal(float(difference), f"an input of {length} tokens")


def _require_equal(difference: float, where: str) -> None:
    if not difference <= check.LARGEST_DIFFERENCE:
        raise ModelError(
            f"the ONNX export gives other probabilities than PyTorch (by up to {difference:.2g}, on {where})",
            "It was not kept. Use PyTorch for this model.",
        )


def _sample(checkpoint: Checkpoint, backend: TorchBackend, examples: Examples, most: int) -> Sample:
    """Labelled texts of the checkpoint's run.

    The classes are named as in the training: config.json, which the backend's names are from, may have been edited.
    """
    names = checkpoint.card.get("labels")
    is_known = isinstance(names, list) and len(names) == len(backend.labels)
    truth, _ = true_classes(LabelMap(tuple(map(str, names))) if names and is_known else backend.labels, examples)
    chosen = np.arange(len(truth))
    if len(chosen) > most:
        chosen = np.sort(np.random.default_rng(_SEED).choice(chosen, size=most, replace=False))
    pairs = examples.pairs
    return Sample(
        [examples.texts[index] for index in chosen],
        None if pairs is None else [pairs[index] for index in chosen],
        truth[chosen],
    )


def text_input(backend: TorchBackend, names: tuple[str, ...]) -> TextInput:
    """How a model expects its input.

    Args:
        names: The inputs of its graph.
    """
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
