"""What `rdrop evaluate` shows of decisions: thresholds, and texts that get no label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdrop_cli.terminal.console import Screen
from rdrop_cli.wording import count

if TYPE_CHECKING:
    from rdrop_cli.core.inference.decisions import Decisions, ThresholdChoice
    from rdrop_cli.core.inference.evaluation import Evaluation
    from rdrop_cli.core.runs.threshold import Threshold

_LEFT_OUT = 0.8
"""The share of labelled examples in the one line about abstaining."""
_FEW = 50
"""Examples of the positive class with which precision and recall are no more than a hint."""


def show_decisions(screen: Screen, evaluated: Evaluation, *, coverage: bool, saves: bool) -> None:
    """Show how a threshold was chosen and what it gives, and what is gained by abstaining.

    Args:
        coverage: Show the whole table of accuracy against coverage.
        saves: The threshold was to be saved, or the saved one removed.
    """
    decisions = evaluated.decisions
    if decisions.threshold is not None:
        if decisions.chosen is not None:
            _show_chosen(screen, decisions.threshold, decisions.chosen)
        _show_threshold(screen, evaluated, decisions.threshold)
    if saves:
        done = "no threshold is saved with it any more" if decisions.threshold is None else "rdrop predict uses it now"
        screen.say(f"Saved with {evaluated.name}: {done}", style="green")
    elif decisions.chosen is not None:
        screen.say("It is not saved; for rdrop predict to use it, add --save-threshold")
    _show_coverage(screen, decisions, evaluated.examples.split, whole=coverage)


def _show_chosen(screen: Screen, threshold: Threshold, chosen: ThresholdChoice) -> None:
    from rdrop_cli.terminal.decision_tables import curve_table

    examples, positives = f"{threshold.examples:,} examples", f"{chosen.curve.positives:,}"
    title = f"Thresholds for {threshold.label} on {threshold.split} ({examples}, {positives} of them {threshold.label})"
    screen.show(curve_table(chosen.curve, chosen.index), title=title)
    if chosen.curve.positives < _FEW:
        few = f"only {count(chosen.curve.positives, 'example')} of {threshold.label} on {threshold.split}"
        screen.say(f"The threshold rests on {few}: other texts may well give another one", style="yellow")


def _show_threshold(screen: Screen, evaluated: Evaluation, threshold: Threshold) -> None:
    from rdrop_cli.terminal.class_tables import confusion_table
    from rdrop_cli.terminal.decision_tables import threshold_table

    decisions, split = evaluated.decisions, evaluated.examples.split
    assert decisions.without is not None and decisions.at_threshold is not None, "there is a threshold"
    shown = threshold_table(decisions.without, decisions.at_threshold, threshold.shown)
    screen.show(shown, title=f"{threshold}; on {split} it gives")
    labels, matrix = evaluated.measured.labels, decisions.at_threshold["confusion_matrix"]
    title, confusion = confusion_table(labels, matrix, screen.fits)
    screen.show(confusion, title=f"{title} with the threshold")
    if evaluated.is_own_data and threshold.split == split:
        screen.say(f"The threshold was chosen on {split}: this is no test of it", style="yellow")


def _show_coverage(screen: Screen, decisions: Decisions, split: str, *, whole: bool) -> None:
    from rdrop_cli.core.metrics.abstaining import COVERAGES
    from rdrop_cli.terminal.decision_tables import coverage_table, rounded_down

    everything, *_ = decisions.covered
    if whole:
        title = f"Where the least confident examples of {split} get no label (AURC {decisions.aurc:.4f})"
        screen.show(coverage_table(decisions.covered), title=title)
        return
    most = decisions.covered[COVERAGES.index(_LEFT_OUT)]
    if most.accuracy > everything.accuracy:
        screen.say(
            f"Without labels for the least confident {100 * (1 - most.coverage):.0f} %, accuracy is {most.accuracy:.4f}"
            f" instead of {everything.accuracy:.4f}: rdrop predict --abstain-below {rounded_down(most.confidence)}"
            " (more: --coverage)"
        )
