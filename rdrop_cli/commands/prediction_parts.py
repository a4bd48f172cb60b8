"""`rdrop predict` for many files: a folder or a pattern as input, a folder as output."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from rdrop_cli import processes
from rdrop_cli.commands import part_summary
from rdrop_cli.terminal.console import Screen
from rdrop_cli.wording import count, size

if TYPE_CHECKING:
    from rdrop_cli.core.executors.part_cluster import Cluster
    from rdrop_cli.core.inference.load_options import LoadOptions
    from rdrop_cli.core.inference.part_prediction import Outcome, PartReading, PartsPlan
    from rdrop_cli.core.inference.parts import Part, Parts, Shard
    from rdrop_cli.core.runs.checkpoint import Checkpoint
    from rdrop_cli.terminal.parts_view import PartsView


@dataclass(frozen=True)
class PartsRequest:
    """What is asked for.

    Attributes:
        shard: The share of the parts to predict; None: all.
        overwrite: Predict also what is finished, and replace other predictions.
        cluster: Where to predict; None: in this process.
    """

    checkpoint: Checkpoint
    load_options: LoadOptions
    reading: PartReading
    parts: Parts
    shard: Shard | None
    overwrite: bool = False
    cluster: Cluster | None = None

    @property
    def chosen(self) -> tuple[Part, ...]:
        """The parts to predict."""
        return self.parts.all if self.shard is None else self.shard.of(self.parts.all)


def is_many(source: str | None) -> bool:
    """True for an input of many files."""
    if source in (None, "-"):
        return False
    from rdrop_cli.core.inference.parts import is_many

    return is_many(str(source))


def refuse_options(**given: Any) -> None:
    """Refuse options that only many files have.

    Raises:
        typer.BadParameter: one was given.
    """
    for name, value in given.items():
        if value is not None and value is not False:  # 0 is given too
            raise typer.BadParameter(f"--{name.replace('_', '-')} needs a folder or a pattern as --input")


def choose(source: str, output: str | None, input_format: str | None, shard: str | None) -> tuple[Parts, Shard | None]:
    """All parts, and the share of them if one is asked for.

    Raises:
        typer.BadParameter: there is no folder for the predictions, or there are several processes.
        RDropError: as `find_parts` and `parse_shard`.
    """
    from rdrop_cli.core.inference.parts import find_parts, parse_shard
    from rdrop_cli.core.storage.files import user_path

    if output is None or output == "-":
        raise typer.BadParameter("many files as --input need a folder as --output")
    if processes.world_size() > 1:
        raise typer.BadParameter("many files are not predicted by a launcher's processes; use --shard or --on ray")
    share = parse_shard(shard)
    return find_parts(source, user_path(output), input_format), share


def predict_many(screen: Screen, many: PartsRequest) -> None:
    """Predict the parts, and say what became of them.

    Raises:
        DataError: parts could not be read, or the output folder has other predictions.
        RDropError: the model cannot be loaded or fails, or nothing can be written.
    """
    _say_what(screen, many)
    if not many.chosen:
        part_summary.show(screen, many, [], None)
        return
    outcomes: list[Outcome] = []
    try:
        settings = (_here if many.cluster is None else _on_ray)(screen, many, outcomes)
    except KeyboardInterrupt:
        done = sum(outcome.record is not None for outcome in outcomes)
        screen.say(f"{done:,} of {count(len(many.chosen), 'part')} finished; the same command resumes", style="yellow")
        raise
    part_summary.show(screen, many, outcomes, settings)
    part_summary.fail(outcomes)


def _here(screen: Screen, many: PartsRequest, outcomes: list[Outcome]) -> dict[str, Any]:
    """Predict in this process, and return the settings.

    Args:
        outcomes: Gets what became of each part.
    """
    from rdrop_cli.core.inference.part_prediction import PartPredictor, begin, predict_parts

    with screen.stages() as stages:
        classifier = many.load_options.open(
            many.checkpoint, notice=lambda text: screen.say(text, style="yellow"), on_progress=stages.update
        )
    predictor = PartPredictor(classifier, many.checkpoint, many.parts, many.reading)
    plan = begin(many.parts, many.chosen, predictor.settings, overwrite=many.overwrite)
    if classifier.threshold is not None:
        screen.say(str(classifier.threshold))
    _collect(screen, plan, lambda view: predict_parts(predictor, plan, lambda part: view.row()), outcomes)
    return predictor.settings


def _on_ray(screen: Screen, many: PartsRequest, outcomes: list[Outcome]) -> dict[str, Any]:
    """Predict on a Ray cluster, and return the settings.

    Args:
        outcomes: Gets what became of each part.
    """
    from rdrop_cli.core.executors.parts_on_ray import PartsOnRay
    from rdrop_cli.core.inference.part_prediction import begin

    assert many.cluster is not None
    with PartsOnRay(
        many.cluster,
        many.checkpoint,
        many.load_options,
        many.parts,
        many.reading,
        most=len(many.chosen),
        notice=lambda text: screen.say(text, style="yellow"),
    ) as workers:
        screen.say(f"Workers on Ray: {workers.count:,}")
        settings = workers.settings()
        plan = begin(many.parts, many.chosen, settings, overwrite=many.overwrite)
        _collect(screen, plan, lambda view: workers.predict(plan), outcomes)
    return settings


def choose_cluster(on: str | None, cpus: int | None, gpus: float | None) -> Cluster | None:
    """The Ray cluster to predict on; None: this process predicts.

    Raises:
        typer.BadParameter: what a worker is to have was said, but not where it is.
        ConfigError: `--on` names something else, or Ray is not installed.
    """
    if on is None:
        if cpus is not None or gpus is not None:
            raise typer.BadParameter("--cpus-per-worker and --gpus-per-worker need --on ray")
        return None
    from rdrop_cli.core.executors.part_cluster import Cluster, parse_cluster
    from rdrop_cli.core.executors.ray_cluster import require_ray

    address = parse_cluster(on)
    require_ray()
    return Cluster(address, cpus or 1, gpus)


def _collect(
    screen: Screen, plan: PartsPlan, run: Callable[[PartsView], Iterable[Outcome]], outcomes: list[Outcome]
) -> None:
    """Predict the pending parts with `run`, and show how far it is."""
    from rdrop_cli.terminal.parts_view import PartsView

    if plan.finished:
        screen.say(f"{count(len(plan.finished), 'part')} finished already")
    outcomes += plan.finished
    with PartsView(screen, len(plan.pending), sum(part.size for part in plan.pending)) as view:
        for outcome in run(view):
            outcomes.append(outcome)
            view.part(outcome.part.size, 0 if outcome.record is None else outcome.record.rows)
            if outcome.has_changed:
                screen.say(f"{outcome.part.source}: has changed since it was predicted", style="yellow")
            if outcome.error is not None:
                screen.say(outcome.error, style="red")


def _say_what(screen: Screen, many: PartsRequest) -> None:
    parts, chosen = many.parts, many.chosen
    share = f"; shard {many.shard} has {len(chosen):,} of them" if many.shard else ""
    screen.say(f"{count(len(parts.all), 'part')} in {parts.root}, {size(sum(part.size for part in parts.all))}{share}")
    if parts.passed_over:
        names = ", ".join(parts.passed_over[:3])
        screen.say(f"{count(len(parts.passed_over), 'file')} of other types passed over: {names}", style="yellow")
    renamed = next((part for part in chosen if part.target.name != part.source.name), None)
    if renamed is not None:
        screen.say(f"Texts without a table get predictions as jsonl: {renamed.target} for {renamed.source}")
