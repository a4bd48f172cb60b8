"""Options that several commands share, each defined once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

DEBUG_KEY = "rdrop.debug"


def _remember_debug(context: typer.Context, value: bool) -> bool:
    if value:
        context.meta[DEBUG_KEY] = True
    return value


DATA_PANEL = "Data"
OUTPUT_PANEL = "Output"

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout.", rich_help_panel=OUTPUT_PANEL)
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show results only, no progress.", rich_help_panel=OUTPUT_PANEL)
]
DebugOption = Annotated[
    bool,
    typer.Option(
        "--debug",
        envvar="RDROP_DEBUG",
        callback=_remember_debug,
        is_eager=True,
        help="Show a traceback on errors.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]


def _data_option(name: str, metavar: str | None, text: str) -> Any:
    return typer.Option(name, metavar=metavar, help=text, rich_help_panel=DATA_PANEL)


TextColumnOption = Annotated[
    Optional[str],  # noqa: UP045 - Typer reads it at run time
    _data_option("--text-column", "NAME", "Column with the text."),
]
LabelColumnOption = Annotated[
    Optional[str],  # noqa: UP045
    _data_option("--label-column", "NAME", "Column with the label."),
]
TextPairColumnOption = Annotated[
    Optional[str],  # noqa: UP045
    _data_option("--text-pair-column", "NAME", "Column with the second text of a pair."),
]
TrainExamplesOption = Annotated[
    Optional[int],  # noqa: UP045
    _data_option(
        "--train-examples",
        "N",
        "Train on a sample of N examples, classes in proportion; validation and test stay whole.",
    ),
]
LabelMapOption = Annotated[
    Optional[str],  # noqa: UP045
    _data_option(
        "--label-map",
        "LABEL=CLASS,...",
        "Classes of labels that have another name in the data, e.g. pos=positive,neg=negative.",
    ),
]
AllowRejectsOption = Annotated[
    Optional[bool],  # noqa: UP045
    _data_option(
        "--allow-rejects", None, "Work without the rows that cannot be used, even if they are more than 1 % of a split."
    ),
]
ConfigOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--config", "-c", metavar="NAME|FILE", help="A recipe's name or a YAML file. Default: starter."),
]
SetOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--set", metavar="KEY=VALUE", help="Set any configuration key, e.g. train.warmup=0.06. Repeatable."),
]
ModelOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--model", "-m", metavar="NAME", help="`starter`, a folder, or a hub id (OWNER/NAME)."),
]
MaxLengthOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--max-length", metavar="TOKENS", help="Longest input in tokens; the rest of a text is cut off."),
]
AlphaOption = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option("--alpha", help="Weight of the KL term; 0 is plain fine-tuning."),
]
LabelSmoothingOption = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option("--label-smoothing", help="Label smoothing, in [0, 1); enters the cross-entropy only."),
]
EpochsOption = Annotated[Optional[int], typer.Option("--epochs", help="Passes over the data.")]  # noqa: UP045
TrainBatchOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--batch-size", help="Examples per optimizer step."),
]
LearningRateOption = Annotated[Optional[float], typer.Option("--lr", help="Highest learning rate.")]  # noqa: UP045
SeedOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--seed", help="Seed for the head, dropout and data order; the split has its own."),
]
PrecisionOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--precision", metavar="NAME", help="auto, float32, bfloat16 or float16."),
]
DeviceOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps. Default: a GPU where there is one."),
]
BatchOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--batch-size", min=1, help="Texts per forward pass."),
]
ThreadsOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--threads",
        min=1,
        max=1024,
        metavar="N",
        help="CPU threads. Default: OMP_NUM_THREADS, else the cores this process may use; a training takes fewer on a"
        " busy machine.",
    ),
]
TrustRemoteCodeOption = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run Python code that comes with the checkpoint.")
]
OutOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--out", "-o", metavar="DIR", help="Folder to write.", rich_help_panel=OUTPUT_PANEL),
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

    parsers = {"label_map": parse_label_map, "micro_batch_size": parse_micro_batch}
    given = {name: values[name] for name in FLAG_KEYS if values.get(name) is not None}
    flags = {FLAG_KEYS[name]: parsers[name](value) if name in parsers else value for name, value in given.items()}
    return collect_overrides(flags, assignments)
