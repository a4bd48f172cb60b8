"""Options that several commands share, each defined once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from rdrop_cli.commands.help_pages import DATA, EVERYDAY, MACHINE, OUTPUT, TRAINING, between

DEBUG_KEY = "rdrop.debug"


def _remember_debug(context: typer.Context, value: bool) -> bool:
    if value:
        context.meta[DEBUG_KEY] = True
    return value


def _check_place(value: str | None) -> str | None:
    if value is not None:
        from rdrop_cli.core.executors.choice import parse_place
        from rdrop_cli.errors import ConfigError

        try:
            parse_place(value)
        except ConfigError as error:
            raise typer.BadParameter(str(error).removeprefix("--on ")) from error
    return value


def _in(panel: str, *names: str, metavar: str | None = None, text: str, **more: Any) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=panel, **more)


_BACKENDS = "torch, auto, or an export of `rdrop export`: onnx, onnx-int8"

DataArgument = Annotated[
    Optional[str],  # noqa: UP045 - Typer reads it at run time
    typer.Argument(metavar="DATA", help="Prepared data, or anything `rdrop prepare` takes. Default: the recipe's."),
]

AlphaOption = Annotated[
    Optional[float],  # noqa: UP045
    _in(EVERYDAY, "--alpha", metavar="NUMBER", text="Weight of the KL term; 0 is one pass without it."),
]
ModelOption = Annotated[
    Optional[str],  # noqa: UP045
    _in(EVERYDAY, "--model", "-m", metavar="NAME", text="`starter`, a folder, or a hub id (OWNER/NAME)."),
]
EpochsOption = Annotated[
    Optional[int],  # noqa: UP045
    _in(EVERYDAY, "--epochs", metavar="N", text="Passes over the training data."),
]
MaxLengthOption = Annotated[
    Optional[int],  # noqa: UP045
    _in(EVERYDAY, "--max-length", metavar="TOKENS", text="Cut texts off after so many tokens."),
]
SeedOption = Annotated[
    Optional[int],  # noqa: UP045
    _in(EVERYDAY, "--seed", metavar="N", text="Seed for the head, dropout and data order."),
]
ConfigOption = Annotated[
    Optional[str],  # noqa: UP045
    _in(EVERYDAY, "--config", "-c", metavar="NAME|FILE", text="A recipe or a YAML file. Default: starter."),
]
SetOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    _in(EVERYDAY, "--set", metavar="KEY=VALUE", text="Any configuration key, e.g. train.warmup=0.06. Repeatable."),
]

TextColumnOption = Annotated[
    Optional[str],  # noqa: UP045
    _in(DATA, "--text-column", metavar="NAME", text="Column with the text."),
]
LabelColumnOption = Annotated[
    Optional[str],  # noqa: UP045
    _in(DATA, "--label-column", metavar="NAME", text="Column with the label."),
]
TextPairColumnOption = Annotated[
    Optional[str],  # noqa: UP045
    _in(DATA, "--text-pair-column", metavar="NAME", text="Column with the second text of a pair."),
]
TrainExamplesOption = Annotated[
    Optional[int],  # noqa: UP045
    _in(
        DATA,
        "--train-examples",
        metavar="N",
        text="Train on a sample of N examples, with the same share of each class.",
    ),
]
LabelMapOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    _in(
        DATA,
        "--label-map",
        metavar="LABEL=CLASS,...",
        text="Rename labels to the classes they stand for, e.g. pos=positive,neg=negative; repeatable.",
    ),
]
AllowRejectsOption = Annotated[
    Optional[bool],  # noqa: UP045
    _in(DATA, "--allow-rejects", text="Leave out unusable rows even if they are more than 1 % of a split."),
]

LearningRateOption = Annotated[
    Optional[float],  # noqa: UP045
    _in(TRAINING, "--lr", metavar="NUMBER", text="Highest learning rate."),
]
TrainBatchOption = Annotated[
    Optional[int],  # noqa: UP045
    _in(TRAINING, "--batch-size", metavar="N", text="Examples in each optimizer step."),
]
LabelSmoothingOption = Annotated[
    Optional[float],  # noqa: UP045
    _in(TRAINING, "--label-smoothing", metavar="NUMBER", text="From 0 up to 1; affects the cross-entropy only."),
]

BackendOption = Annotated[
    Optional[str],  # noqa: UP045
    _in(MACHINE, "--backend", metavar="NAME", text=f"{_BACKENDS}. Default: auto, an export if one suits."),
]
BackendOfEvaluateOption = Annotated[
    Optional[str],  # noqa: UP045
    _in(MACHINE, "--backend", metavar="NAME", text=f"{_BACKENDS}. Default: torch."),
]
DeviceOption = Annotated[
    Optional[str],  # noqa: UP045
    _in(MACHINE, "--device", metavar="NAME", text="cpu, cuda, cuda:N, mps or auto (a GPU if there is one)."),
]
PrecisionOption = Annotated[
    Optional[str],  # noqa: UP045
    _in(MACHINE, "--precision", metavar="NAME", text="auto, float32, bfloat16 or float16."),
]
BatchOption = Annotated[
    Optional[int],  # noqa: UP045
    _in(MACHINE, "--batch-size", metavar="N", text="Texts in each forward pass.", callback=between(1)),
]
ThreadsOption = Annotated[
    Optional[int],  # noqa: UP045
    _in(
        MACHINE,
        "--threads",
        metavar="N",
        text="CPU threads. Default: OMP_NUM_THREADS, else one for each core (fewer if busy).",
        callback=between(1, 1024),
    ),
]
OnOption = Annotated[
    Optional[str],  # noqa: UP045
    _in(
        MACHINE,
        "--on",
        metavar="local:N|ray[:ADDRESS]",
        text="Train N runs at a time on this machine, or the runs on a Ray cluster. Default: one after the other.",
        callback=_check_place,
    ),
]
CpusPerRunOption = Annotated[
    int,
    _in(
        MACHINE,
        "--cpus-per-run",
        metavar="N",
        text="CPUs of a run on a Ray cluster, and its threads without --threads. Default: 1.",
        callback=between(1, 1024),
        show_default=False,
    ),
]
GpusPerRunOption = Annotated[
    Optional[float],  # noqa: UP045
    _in(
        MACHINE,
        "--gpus-per-run",
        metavar="NUMBER",
        text="GPUs of a run on a Ray cluster, e.g. 0.5; 0: the CPU. Default: 1 if the cluster has GPUs.",
        callback=between(0, 64),
    ),
]
TrustRemoteCodeOption = Annotated[
    bool, _in(MACHINE, "--trust-remote-code", text="Run Python code that comes with the checkpoint.")
]

OutOption = Annotated[
    Optional[Path],  # noqa: UP045
    _in(OUTPUT, "--out", "-o", metavar="DIR", text="Folder to write to."),
]
JsonOption = Annotated[bool, _in(OUTPUT, "--json", text="Print one JSON document on stdout.")]
QuietOption = Annotated[bool, _in(OUTPUT, "--quiet", "-q", text="Show results only, and warnings on stderr.")]
DebugOption = Annotated[
    bool,
    _in(
        OUTPUT,
        "--debug",
        text="Show a traceback on errors; so does RDROP_DEBUG=1.",
        envvar="RDROP_DEBUG",
        show_envvar=False,
        callback=_remember_debug,
        is_eager=True,
    ),
]

FLAG_KEYS = {
    "source": "data.source",
    "data": "data.source",
    "text_column": "data.text_column",
    "label_column": "data.label_column",
    "text_pair_column": "data.text_pair_column",
    "validation": "data.validation",
    "test": "data.test",
    "train_examples": "data.train_examples",
    "label_map": "data.label_map",
    "allow_rejects": "data.allow_rejects",
    "model": "model.name",
    "max_length": "model.max_length",
    "alpha": "rdrop.alpha",
    "label_smoothing": "train.label_smoothing",
    "epochs": "train.epochs",
    "batch_size": "train.batch_size",
    "micro_batch_size": "train.micro_batch_size",
    "micro_batch": "train.micro_batch_size",
    "gradient_checkpointing": "train.gradient_checkpointing",
    "lr": "train.lr",
    "seed": "train.seed",
    "precision": "train.precision",
    "device": "train.device",
}
"""The arguments of commands that take a configuration, and the keys that they set."""


def overrides(values: Mapping[str, Any], assignments: Iterable[str] | None) -> list[tuple[str, Any]]:
    """Dotted keys with their values: the `--set` assignments, then the flags that were given, which win.

    Args:
        values: A command's arguments by name, None where not given; those that set no key are passed over.
        assignments: What `--set` was given.

    Raises:
        ConfigError: an assignment that cannot be read.
        DataError: a label map that cannot.
    """
    from rdrop_cli.config import collect_overrides, parse_micro_batch
    from rdrop_cli.core.data.label_column import parse_label_map

    parsers = {"label_map": parse_label_map, "micro_batch_size": parse_micro_batch, "micro_batch": parse_micro_batch}
    given = {name: values[name] for name in FLAG_KEYS if values.get(name) not in (None, [])}
    flags = {FLAG_KEYS[name]: parsers[name](value) if name in parsers else value for name, value in given.items()}
    return collect_overrides(flags, assignments)
