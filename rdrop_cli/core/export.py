"""What a run writes about its data and its model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rdrop_cli import __version__
from rdrop_cli.core import checkpoints, tokenization
from rdrop_cli.core.card import model_card
from rdrop_cli.core.files import writing_folder
from rdrop_cli.core.prepared import Prepared
from rdrop_cli.schema import Config


def data_record(data: Prepared) -> dict[str, Any]:
    """What data.json says: enough to find the same splits again, and to know that they are the same."""
    return {
        "source": data.source,
        "prepared": str(data.folder.resolve()) if data.folder else None,
        "fingerprint": data.fingerprint,
        "columns": data.columns,
        "splits": {name: len(split) for name, split in data.splits.items()},
        "labels": list(data.labels.names),
    }


def checkpoint_card(config: Config, data: Prepared) -> dict[str, Any]:
    """What rdrop.json says: how the model wants its input, and how it was made."""
    return {
        "rdrop": __version__,
        "alpha": config.rdrop.alpha,
        "ce_reduction": config.rdrop.ce_reduction,
        "label_smoothing": config.train.label_smoothing,
        "seed": config.train.seed,
        "max_length": config.model.max_length,
        "precision": config.train.precision,
        "batch_size": config.train.eval_batch_size,
        "columns": data.columns,
        "labels": list(data.labels.names),
    }


def export(model: Any, tokenizer: Any, config: Config, data: Prepared, folder: Path) -> None:
    """Save what `from_pretrained` loads: weights in safetensors, tokenizer, configuration, cards; nothing pickled."""
    with writing_folder(folder) as staging:
        model.save_pretrained(staging)
        tokenization.strip_state(tokenizer)
        tokenizer.save_pretrained(staging)
        card = json.dumps(checkpoint_card(config, data), indent=2)
        (staging / checkpoints.CARD).write_text(card + "\n", encoding="utf-8")
        readme = model_card(config, data.labels.names, data_record(data), {})
        (staging / "README.md").write_text(readme, encoding="utf-8")
