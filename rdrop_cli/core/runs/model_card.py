"""The model card: what best/README.md says of a model, for people and for the hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli import __version__
from rdrop_cli.core.data import left_out
from rdrop_cli.core.data.prepare import is_local
from rdrop_cli.core.metrics.classification import HEADLINE, SCALARS, TITLES, average_of
from rdrop_cli.core.storage import hub, starter
from rdrop_cli.core.storage.files import user_path

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from rdrop_cli.schema import Config

TASK = "text-classification"


def model_card(config: Config, labels: tuple[str, ...], data: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Markdown with a YAML head, which the hub reads.

    Args:
        data: What the run recorded of its data.
        metrics: By split; may still be empty.
    """
    method = (
        f"R-Drop (alpha {config.rdrop.alpha:g}, cross-entropy {config.rdrop.ce_reduction})"
        if config.rdrop.alpha
        else "plain fine-tuning"
    )
    lines = [
        "---",
        _head(config, labels, data["source"]["name"], metrics),
        "---",
        "",
        f"# {as_code(config.model.name)} fine-tuned on {as_code(data['source']['name'])}",
        "",
        f"Trained by rdrop {__version__} with {method}, label smoothing {config.train.label_smoothing:g},"
        f" {config.train.epochs} epochs, batch size {config.train.batch_size}, learning rate {config.train.lr:g},"
        f" seed {config.train.seed}.",
        "",
        f"* Classes: {', '.join(map(as_code, labels))}",
        f"* Longest input: {config.model.max_length} tokens; text is not cleaned",
        f"* Examples: {', '.join(f'{name} {count:,}' for name, count in data['splits'].items())}",
        *(f"* {as_text(sentence)}" for sentence in left_out.sentences(data.get("left_out") or {})),
        f"* Chosen by validation {config.train.metric}; the test split was opened once, at the end",
        f"* Fingerprint of the data: {as_code(data['fingerprint'])}",
        "",
    ]
    if metrics:
        columns = [name for name in SCALARS if any(split.get(name) is not None for split in metrics.values())]
        lines += [f"| split | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
        for split, values in metrics.items():
            cells = ["–" if values[name] is None else f"{values[name]:.4f}" for name in columns]
            lines.append(f"| {split} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _head(config: Config, labels: tuple[str, ...], data: str, metrics: Mapping[str, Any]) -> str:
    """The card's metadata, as the hub defines it. Its check of them asks the hub, so it is not called."""
    from huggingface_hub import ModelCardData  # is slow to load

    dataset = _hub_dataset(data)
    results = _results(labels, data, metrics)
    model = as_line(Path(config.model.name).name)
    card = ModelCardData(
        base_model=_hub_model(config.model.name),
        library_name="transformers",
        pipeline_tag=TASK,
        tags=["r-drop", TASK],
        datasets=[dataset[0]] if dataset else None,
        # The results' table has a name of its own for the model; without results the hub knows no such key.
        model_name=f"{model} fine-tuned on {results[0].dataset_name}" if results else None,
        eval_results=results or None,
    )
    return card.to_yaml()


def _results(labels: tuple[str, ...], data: str, metrics: Mapping[str, Any]) -> list[EvalResult]:
    """The headline metrics that are defined, of test where there is one, else of validation."""
    from huggingface_hub import EvalResult

    split = next((name for name in ("test", "validation") if name in metrics), None)
    if split is None:
        return []
    dataset, configuration = _hub_dataset(data) or (as_line(Path(data).name), None)
    averaged = {"f1": f"{TITLES['f1']}, {as_line(average_of(labels))}"}
    return [
        EvalResult(
            TASK,
            dataset,
            dataset,
            name,
            metrics[split][name],
            dataset_config=configuration,
            dataset_split=split,
            metric_name=averaged.get(name, TITLES[name]),
        )
        for name in HEADLINE
        if metrics[split].get(name) is not None
    ]


def _hub_model(name: str) -> str | None:
    """The encoder's id on the hub; None for one from a folder, as the hub refuses cards that name what it has not."""
    if name == starter.MODEL_NAME:
        return starter.UPSTREAM_MODEL
    return name if hub.looks_like_id(name) and not user_path(name).is_dir() else None


def _hub_dataset(name: str) -> tuple[str, str | None] | None:
    """Id and configuration of data from the hub; None for any other."""
    repository, configuration = hub.parse_dataset(name)
    return (repository, configuration) if hub.looks_like_id(repository) and not is_local(name) else None


def as_line(text: str) -> str:
    """Text without line ends and other control characters."""
    return "".join(character if character.isprintable() else " " for character in text)


def as_text(text: str) -> str:
    """Text in which nothing is Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&])", r"\\\1", as_line(text))


def as_code(text: str) -> str:
    """Text as inline code, so that nothing in it is Markdown or HTML."""
    return "`" + as_line(text).replace("`", "'") + "`"
