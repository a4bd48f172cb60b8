"""A job, its progress and its end as lines of JSON, between processes. Imports nothing heavy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rdrop_cli import errors
from rdrop_cli.core.executors.base import Job
from rdrop_cli.core.training.observer import Observer, TrainingPlan
from rdrop_cli.errors import ProcessLost, RDropError
from rdrop_cli.schema import Config

_EVENTS = ("place", "stage", "plan", "step", "log", "micro_batch", "notice", "evaluating")
"""What an observer can be told from elsewhere, by the name of its method."""
_PATHS = ("folder", "model", "prepared")
"""Attributes of a job that are paths."""


def job_as_text(job: Job) -> str:
    """A job in one line."""
    paths = {name: str(path) for name in _PATHS if (path := getattr(job, name)) is not None}
    fields = {"name": job.name, "fingerprint": job.fingerprint, "first": job.first, "weights": job.weights}
    return json.dumps({**fields, **paths, "config": job.config.model_dump_json()})


def job_from_text(text: str) -> Job:
    """The job that `job_as_text` gave."""
    fields = json.loads(text)
    paths = {name: Path(fields[name]) for name in _PATHS if name in fields}
    return Job(**{**fields, **paths, "config": Config.model_validate_json(fields["config"])})


class ForwardingObserver(Observer):
    """Sends a training's progress away.

    Args:
        send: Called with each message.
    """

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self.send = send

    def stage(self, name: str, done: int, total: int | None) -> None:
        self.send({"event": "stage", "values": [name, done, total]})

    def plan(self, plan: TrainingPlan) -> None:
        self.send({"event": "plan", "values": [{**asdict(plan), "run": str(plan.run)}]})

    def step(self, step: int) -> None:
        self.send({"event": "step", "values": [step]})

    def log(self, row: Mapping[str, Any]) -> None:
        self.send({"event": "log", "values": [dict(row)]})

    def micro_batch(self, size: int) -> None:
        self.send({"event": "micro_batch", "values": [size]})

    def notice(self, message: str) -> None:
        self.send({"event": "notice", "values": [message]})

    def evaluating(self, done: int) -> None:
        self.send({"event": "evaluating", "values": [done]})


def pass_on(message: Mapping[str, Any], observer: Observer) -> None:
    """Tell an observer what `ForwardingObserver` sent."""
    name, values = message["event"], message["values"]
    if name == "plan":
        observer.plan(TrainingPlan(**{**values[0], "run": Path(values[0]["run"])}))
    elif name in _EVENTS:
        getattr(observer, name)(*values)


def error_as_message(error: Exception) -> dict[str, Any]:
    """An error that ended a job; of one that nobody foresaw, the type is part of the message."""
    if isinstance(error, RDropError):
        return {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    text = f"internal error: {type(error).__name__}: {errors.one_line(error)}"
    return {"error": ProcessLost.__name__, "message": text, "hint": None}


def error_from_message(message: Mapping[str, Any]) -> RDropError:
    """The error that `error_as_message` was given."""
    kind = getattr(errors, str(message["error"]), RDropError)
    assert issubclass(kind, RDropError)
    return kind(message["message"], message["hint"])
