"""The model card: best/README.md, which describes a model for people and for the hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli import __version__
from rdrop_cli.core.data import left_out
from rdrop_cli.core.data.prepare import is_local
from rdrop_cli.core.metrics.classification import HEADLINE, SCALARS, TITLES, average_of
from rdrop_cli.core.runs.method import describe_method
from rdrop_cli.core.storage import hub, starter
from rdrop_cli.core.storage.files import user_path

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from rdrop_cli.core.runs.calibration import Calibration
    from rdrop_cli.core.runs.threshold import Threshold
    from rdrop_cli.schema import Config

TASK = "text-classification"
_FINGERPRINT, _THRESHOLD = "* Data fingerprint: ", "* Decision threshold: "
"""The beginnings of two lines of the card."""


def model_card(
    config: Config,
    labels: tuple[str, ...],
    data: Mapping[str, Any],
    metrics: Mapping[str, Any],
    *,
    calibration: Calibration | None = None,
) -> str:
    """The card as Markdown, with a YAML header for the hub.

    Args:
        labels: The names of the classes.
        data: The run's record of its data.
        metrics: By split; empty before the final evaluation.
        calibration: The temperature of the probabilities, if one was wanted.
    """
    lines = [
        "---",
        _head(config, labels, data["source"]["name"], metrics),
        "---",
        "",
        f"# {as_code(_title(config.model.name, _hub_model(config.model.name)))}"
        f" fine-tuned on {as_code(_title(data['source']['name'], _hub_dataset(data['source']['name'])))}",
        "",
        f"Trained with rdrop {__version__}: {describe_method(config)},"
        f" label smoothing {config.train.label_smoothing:g},"
        f"{_class_weights(config)}"
        f" {config.train.epochs} epochs, batch size {config.train.batch_size}, learning rate {config.train.lr:g},"
        f" seed {config.train.seed}.",
        "",
        f"* Classes: {', '.join(map(as_code, labels))}",
        f"* Maximum input length: {config.model.max_length} tokens; text is not cleaned",
        f"* Examples: {', '.join(f'{name} {count:,}' for name, count in data['splits'].items())}",
        *(f"* {as_text(sentence)}" for sentence in left_out.sentences(data.get("left_out") or {})),
        f"* Epoch chosen by validation {config.train.metric}; the test split was used once, at the end",
        *(f"* {sentence}" for sentence in _on_probabilities(calibration)),
        f"{_FINGERPRINT}{as_code(data['fingerprint'])}",
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


def with_threshold(card: str, threshold: Threshold | None) -> str:
    """A card with a line about a decision threshold, or without one; whatever else its owner wrote is kept.

    The line stands above that with the fingerprint; a card that has none of that, since its owner wrote another, stays
    as it is.
    """
    lines = [line for line in card.split("\n") if not line.startswith(_THRESHOLD)]
    place = next((index for index, line in enumerate(lines) if line.startswith(_FINGERPRINT)), None)
    if threshold is not None and place is not None:
        why = f", chosen for {as_text(threshold.rule)} on {as_text(threshold.split or '')}" if threshold.rule else ""
        line = f"{_THRESHOLD}{as_text(threshold.label)} from a probability of {threshold.shown}{why}; rdrop applies it"
        lines.insert(place, line)
    return "\n".join(lines)


def _on_probabilities(calibration: Calibration | None) -> list[str]:
    if calibration is None:
        return []
    if calibration.reason is not None:
        return [f"Probabilities are raw, without a temperature: {as_text(calibration.reason)}"]
    where = "contained in the weights" if calibration.in_head else "in rdrop.json, applied by rdrop only"
    return [
        f"Probabilities are calibrated: temperature {calibration.temperature:.4g}, {where}, fitted on"
        f" {calibration.examples:,} validation examples; slightly optimistic, since validation also chose the epoch."
        " The table is about the raw ones"
    ]


def _class_weights(config: Config) -> str:
    """The weights as configured; rdrop.json has those that they come to."""
    chosen = config.train.class_weights
    if chosen == "none":
        return ""
    if isinstance(chosen, str):
        return f" class weights {chosen},"
    return f" class weights {', '.join(f'{as_code(name)} {weight:g}' for name, weight in chosen.items())},"


def _head(config: Config, labels: tuple[str, ...], data: str, metrics: Mapping[str, Any]) -> str:
    """The card's metadata, as the hub defines it. The library's own check of it needs the hub, so it is not called."""
    from huggingface_hub import ModelCardData  # slow to import

    dataset = _hub_dataset(data)
    results = _results(labels, data, metrics)
    model = _as_line(Path(config.model.name).name)
    card = ModelCardData(
        base_model=_hub_model(config.model.name),
        library_name="transformers",
        pipeline_tag=TASK,
        tags=["r-drop", TASK],
        datasets=[dataset[0]] if dataset else None,
        # The key belongs to the table of results; without results the hub does not accept it.
        model_name=f"{model} fine-tuned on {results[0].dataset_name}" if results else None,
        eval_results=results or None,
    )
    return card.to_yaml()


def _results(labels: tuple[str, ...], data: str, metrics: Mapping[str, Any]) -> list[EvalResult]:
    """The headline metrics that are defined, for test if there is a test split, else for validation."""
    from huggingface_hub import EvalResult

    split = next((name for name in ("test", "validation") if name in metrics), None)
    if split is None:
        return []
    dataset, configuration = _hub_dataset(data) or (_as_line(Path(data).name), None)
    averaged = {"f1": f"{TITLES['f1']}, {_as_line(average_of(labels))}"}
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


def _title(name: str, on_hub: object) -> str:
    """A name as it is on the hub; of a path the last part, as the rest is nobody else's business."""
    return name if on_hub is not None else Path(name).name


def _hub_model(name: str) -> str | None:
    """The encoder's id on the hub; None for one from a folder, since the hub refuses cards with unknown models."""
    if name == starter.MODEL_NAME:
        return starter.UPSTREAM_MODEL
    return name if hub.looks_like_id(name) and not user_path(name).is_dir() else None


def _hub_dataset(name: str) -> tuple[str, str | None] | None:
    """Id and configuration of data from the hub; None for other data."""
    repository, configuration = hub.parse_dataset(name)
    return (repository, configuration) if hub.looks_like_id(repository) and not is_local(name) else None


def _as_line(text: str) -> str:
    """Text without line ends and other control characters."""
    return "".join(character if character.isprintable() else " " for character in text)


def as_text(text: str) -> str:
    """Text with everything escaped that could be Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&])", r"\\\1", _as_line(text))


def as_code(text: str) -> str:
    """Text as inline code, in which nothing is interpreted as Markdown or HTML."""
    return "`" + _as_line(text).replace("`", "'") + "`"
