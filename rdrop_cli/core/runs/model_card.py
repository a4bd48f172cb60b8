"""The model card: what best/README.md says of a model, for people and for the hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from rdrop_cli import __version__
from rdrop_cli.core.data import left_out
from rdrop_cli.core.metrics.classification import SCALARS
from rdrop_cli.schema import Config


def model_card(config: Config, labels: tuple[str, ...], data: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Markdown with a YAML head.

    Args:
        data: What the run recorded of its data.
        metrics: By split; may still be empty.
    """
    head = {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["r-drop", "text-classification"],
    }
    method = (
        f"R-Drop (alpha {config.rdrop.alpha:g}, cross-entropy {config.rdrop.ce_reduction})"
        if config.rdrop.alpha
        else "plain fine-tuning"
    )
    lines = [
        "---",
        yaml.safe_dump(head, sort_keys=False).rstrip(),
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


def as_text(text: str) -> str:
    """Text in which nothing is Markdown or HTML."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&])", r"\\\1", plain)


def as_code(text: str) -> str:
    """Text as inline code, so that nothing in it is Markdown or HTML."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    return "`" + plain.replace("`", "'") + "`"
