"""Everything that a run says of itself, in one document. Only reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rdrop_cli.config import flatten
from rdrop_cli.core.data import left_out
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.method import describe_method
from rdrop_cli.core.runs.outputs import load_cost
from rdrop_cli.core.runs.summary import Attempts, Summary, is_there, summarize
from rdrop_cli.core.runs.threshold import read_threshold
from rdrop_cli.core.storage import shell, starter


def describe_run(run: Path, name: str | None = None) -> dict[str, Any]:
    """What `rdrop runs show --json` prints: the summary's keys and, None where nothing is recorded, the rest."""
    summary = summarize(run, name)
    attempt = Attempts()
    cost = attempt(lambda: load_cost(run)) if is_there(run / layout.COST) else None
    threshold = attempt(lambda: _threshold(run)) if is_there(run / layout.BEST / layout.CARD) else None
    return {
        **summary.as_dict(),
        "faults": [*summary.faults, *attempt.faults],
        **_of_the_data(summary),
        **_of_the_configuration(summary),
        **_of_the_training(summary, cost or {}),
        "threshold": threshold,
        "disk": dict(summary.disk),
        "next": _next_commands(summary),
    }


def _threshold(run: Path) -> dict[str, Any] | None:
    card = run / layout.BEST / layout.CARD
    threshold = read_threshold(layout.read_json(card), card)
    return None if threshold is None else threshold.as_dict()


def _of_the_data(summary: Summary) -> dict[str, Any]:
    record = summary.record
    keys = ("splits", "columns", "labels", "classes", "left_out", "fingerprint", "prepared")
    omissions = record.get("left_out")
    return {
        **{key: record.get(key) for key in keys},
        "remarks": [*left_out.sentences(omissions or {}), *_fallbacks(summary)],
    }


def _fallbacks(summary: Summary) -> list[str]:
    """What was asked for and did not work, a sentence each."""
    asked = summary.record.get("fallbacks")
    used = flatten(summary.config.model_dump()) if summary.config else {}
    if not isinstance(asked, dict):  # recorded by an earlier version
        return []
    return [f"{key} {value} did not work on the device: {key} {used.get(key)} was used" for key, value in asked.items()]


def _of_the_configuration(summary: Summary) -> dict[str, Any]:
    config = summary.config
    return {
        "max_length": config.model.max_length if config else None,
        "method": describe_method(config) if config else None,
        "ce_reduction": config.rdrop.ce_reduction if config else None,
        "label_smoothing": config.train.label_smoothing if config else None,
        "batch_size": config.train.batch_size if config else None,
        "lr": config.train.lr if config else None,
        "metric": config.train.metric if config else None,
        "precision": config.train.precision if config else None,
    }


def _of_the_training(summary: Summary, cost: dict[str, Any]) -> dict[str, Any]:
    keys = ("best_epoch", "steps", "seconds", "wall_seconds", "examples_per_second", "resumed_from_step", "versions")
    return {
        **{key: cost.get(key) for key in keys},
        "device": cost.get("device") or summary.record.get("device"),
        "threads": cost.get("threads") or summary.record.get("threads"),
    }


def _next_commands(summary: Summary) -> list[str]:
    run = str(summary.folder)
    if summary.state == "in use":
        return []
    if summary.state == "damaged":
        return [shell.join(["rdrop", "runs", "verify", run])]
    if summary.state == "unfinished":
        return [layout.resume_command(summary.folder)]
    predict = shell.join(["rdrop", "predict", "--checkpoint", run])
    columns, labels = summary.record.get("columns") or {}, summary.record.get("labels") or []
    text = "great movie" if tuple(labels) == starter.LABEL_NAMES else "some text"
    of_text = f"{predict} --input FILE" if columns.get("text_pair") else f'{predict} "{text}"'
    return [shell.join(["rdrop", "evaluate", run]), of_text]
