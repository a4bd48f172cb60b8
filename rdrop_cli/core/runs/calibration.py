"""The temperature of a model's probabilities, as best/rdrop.json records it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rdrop_cli.errors import CheckpointError

_LOWEST, _HIGHEST = 0.01, 100.0
"""Beyond what training fits; further out, probabilities are no numbers any more."""

KEY = "calibration"
"""Of rdrop.json. A model without it was not calibrated, such as one that an earlier version trained."""


@dataclass(frozen=True)
class Calibration:
    """How a model's probabilities relate to its raw ones.

    Attributes:
        temperature: What the raw logits are divided by; 1 if no temperature could be fitted.
        in_head: The weights contain it, so that every tool gives calibrated probabilities; False: rdrop applies it.
        examples: How many validation examples it was fitted on; None: not recorded.
        reason: Why no temperature could be fitted; None: one was.
    """

    temperature: float = 1.0
    in_head: bool = False
    examples: int | None = None
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """As rdrop.json records it."""
        return asdict(self)


def read_calibration(card: Mapping[str, Any], where: object) -> Calibration | None:
    """The calibration that a card records; None: the model was not calibrated.

    Args:
        card: The content of rdrop.json, which users may edit.
        where: The path of the card, for messages.

    Raises:
        CheckpointError: it is not one.
    """
    record = card.get(KEY)
    if record is None:
        return None
    if not isinstance(record, dict):
        raise _invalid(where, KEY, "an object", record)
    temperature: Any
    temperature, in_head = record.get("temperature"), record.get("in_head", False)
    if not _is_temperature(temperature):
        raise _invalid(where, f"{KEY}.temperature", f"a number from {_LOWEST:g} to {_HIGHEST:g}", temperature)
    if not isinstance(in_head, bool):
        raise _invalid(where, f"{KEY}.in_head", "true or false", in_head)
    examples, reason = record.get("examples"), record.get("reason")
    return Calibration(
        float(temperature),
        in_head,
        examples if isinstance(examples, int) and not isinstance(examples, bool) else None,
        reason if isinstance(reason, str) else None,
    )


def _is_temperature(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return _LOWEST <= float(value) <= _HIGHEST
    except OverflowError:
        return False


def _invalid(where: object, key: str, expected: str, got: object) -> CheckpointError:
    return CheckpointError(
        f"{where}: {key} must be {expected}, got {str(got)[:40]!r}", "Restore it from the run, or remove the key."
    )
