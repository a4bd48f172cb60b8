"""What a training is about to do and what happens in it, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rdrop_cli import processes
from rdrop_cli.core.data.columns import in_words
from rdrop_cli.core.data.notes import data_notes
from rdrop_cli.core.model.device import device_in_use
from rdrop_cli.core.model.memory import peak_memory
from rdrop_cli.wording import count, listed

if TYPE_CHECKING:
    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.core.training.observer import TrainingPlan
    from rdrop_cli.terminal.console import Screen

LABEL = 7
"""Characters of the label before each line of a plan."""
_CLASSES = 10
"""Classes that the plan names."""


def describe_plan(plan: TrainingPlan) -> list[str]:
    """The plan in a few lines, each behind a label."""
    counts = ", ".join(f"{name} {count:,}" for name, count in plan.examples.items())
    weights = [f"{'':{LABEL}}{_describe_weights(plan)}"] if plan.class_weights else []
    micro = _micro_batches(plan)
    lines = [
        f"Model  {plan.model}, {plan.parameters / 1e6:.1f} M parameters, on {plan.device}, {plan.precision}",
        f"Data   {plan.data}: {counts}; columns: {in_words(plan.columns)}",
        f"Labels {describe_classes(plan.classes)}",
        f"Loss   {plan.method}, label smoothing {plan.label_smoothing:g}",
        *weights,
        f"Steps  {plan.steps:,} in {count(plan.epochs, 'epoch')}, {plan.batch_size} examples each{micro}",
        f"Best   by validation {plan.metric}; the test split is used once, at the end",
        f"Run    {plan.run}",
    ]
    if plan.first_step:
        lines.append(f"Resuming from step {plan.first_step:,}")
    return lines


def say_plan(screen: Screen, plan: TrainingPlan) -> None:
    """Show the plan, and what was inferred of the data or left out of it."""
    for line in describe_plan(plan):
        screen.say(line, label=LABEL)
    for line in plan.data_notes:
        screen.say(line, style="yellow")


def say_data(screen: Screen, data: Prepared) -> None:
    """Show the data of several trainings, before the first of them begins."""
    classes = data.class_counts("train")
    screen.say(f"Data   columns: {in_words(data.columns)}", label=LABEL)
    screen.say(f"Labels {describe_classes(classes)}", label=LABEL)
    for note in data_notes(data):
        screen.say(note, style="yellow")


def describe_classes(classes: Mapping[str, int]) -> str:
    """The classes with their training examples, and which one the metrics are about.

    Args:
        classes: Training examples by class, in the order of the ids.
    """
    names = list(classes)
    shown = listed([f"{name}: {number:,}" for name, number in classes.items()], _CLASSES)
    if len(names) == 2:
        about = f"F1 is about {names[1]!r}, the second (data.positive_label chooses)"
    else:
        about = f"F1 is the macro average of those of the {len(names)} classes that a split or its predictions have"
    return f"{shown}; {about}"


def _describe_weights(plan: TrainingPlan) -> str:
    weights = plan.class_weights or {}
    shown = listed([f"{name} {weight:.3g}" for name, weight in weights.items()], _CLASSES)
    how = "balanced" if plan.balanced else "as given, scaled to a mean of 1 over the examples"
    return f"Class weights: {shown} ({how})"


def _micro_batches(plan: TrainingPlan) -> str:
    if plan.micro_batch_size == "auto":
        return ", divided further if memory runs out"
    return f" in micro-batches of {plan.micro_batch_size}" if plan.micro_batch_size else ""


def loss_terms(row: Mapping[str, Any]) -> list[str]:
    """What the loss of a log entry consists of, and how far the two passes agree."""
    terms = [f"CE {figure(row['ce'], '.4f')}"]
    if "kl" in row:
        terms += [f"KL {figure(row['kl'], '.5f')}", f"KL share {figure(row['kl_share'], '.1%')}"]
        terms.append(f"passes agree {figure(row['agreement'], '.1%')}")
    return terms


def speeds(row: Mapping[str, Any]) -> list[str]:
    """A log entry's learning rate, speed, and the memory in use."""
    shown = [f"lr {figure(row['learning_rate'], '.2e')}"]
    if "examples_per_second" in row:
        shown.append(f"{figure(row['examples_per_second'], '.0f')} examples/s")
        shown.append(f"{figure(row['tokens_per_second'], ',.0f')} tokens/s")
    return [*shown, f"memory {peak_memory(device_in_use()) / 2**30:.1f} GiB"]


def figure(value: float | None, spec: str) -> str:
    """A number as its format says; one that is not defined is a dash."""
    return "–" if value is None else format(value, spec)


def describe_log(row: Mapping[str, Any]) -> str:
    """A training log entry in one line."""
    return "  ".join([f"loss {figure(row['loss'], '.4f')}", *loss_terms(row), *speeds(row)])


def describe_stopping() -> str:
    """What a first signal does, and a second one; to one of several processes that is nothing special."""
    return "Stopping after this step and saving" + (
        "; Ctrl-C again stops at once" if processes.world_size() == 1 else ""
    )


def describe_micro_batch(size: int) -> str:
    """What happened when the memory ran out."""
    return f"Out of memory: retrying with micro-batches of {size} (same result)"
