"""Expected errors. The command line shows each as one line and exits with its code.

RDropError                  exit code 1
├── ConfigError             a configuration key, its value, or two keys that contradict each other
├── DataError               a file, a row, a column, a label, a split
├── CheckpointError         a run folder or checkpoint that is missing, unfinished, in use or something else
├── ModelError              a model that cannot be loaded, trained or run as requested
├── HubError                the model hub cannot be reached, or refuses a request
├── StorageError            a file or folder that cannot be written or read: no space, no permission
├── ProcessLost             another of several processes ended during their work
└── TrainingInterrupted     exit code 130: stopped by a signal and saved; can be resumed
"""

from __future__ import annotations


def one_line(error: BaseException) -> str:
    """The first line of an exception's text, for a message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


class RDropError(Exception):
    """An expected failure.

    Args:
        message: What is wrong and where, in one sentence without a trailing period.
        hint: What to do about it, in one sentence; shown after the message.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class ConfigError(RDropError):
    """An invalid configuration; the message lists every fault."""


class DataError(RDropError):
    """Data that cannot be read or used."""


class CheckpointError(RDropError):
    """A run or checkpoint that cannot be found or used."""


class ModelError(RDropError):
    """A model that cannot be loaded, trained or run as requested."""


class HubError(RDropError):
    """The model hub cannot be reached, or does not have what was requested."""


class StorageError(RDropError):
    """A file or folder cannot be written or read; its earlier content is unchanged."""


class ProcessLost(RDropError):
    """Another process of a joint run was killed or failed."""


class TrainingInterrupted(RDropError):
    """Training was stopped by a signal after saving a checkpoint."""

    exit_code = 130
