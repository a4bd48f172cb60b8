"""The report of a comparison: its verdict, every seed, the differences, and what it cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli import __version__, wording
from rdrop_cli.config import flatten, load_config
from rdrop_cli.core.comparison.arms import CLASSIC, RIVALS, without_factor
from rdrop_cli.core.comparison.summary import what_is_equal
from rdrop_cli.core.report import comparison_pictures as pictures
from rdrop_cli.core.report import words
from rdrop_cli.core.report.comparison_documents import Results, open_results, run_of
from rdrop_cli.core.report.parts import Command, Facts, Notes, Report, Section, SideBySide, Table
from rdrop_cli.core.report.run_settings import as_yaml, assignments
from rdrop_cli.core.runs.finding import recorded_config
from rdrop_cli.core.storage import shell
from rdrop_cli.errors import RDropError

if TYPE_CHECKING:
    from rdrop_cli.core.report.parts import Block, Picture

_LATER = ("nll", "brier", "ece")
"""Metrics that a temperature changes, shown raw and calibrated."""
_OF_RIVALS = ("rdrop.", "train.ema", "train.label_smoothing", "train.epochs")
"""Keys that the built-in rivals change. A user's arm may have the name of one, and change others."""
_WITH_RDROP = ("rdrop", "rdrop+smoothing")
_CONFIGURED = {
    "rdrop.alpha": _WITH_RDROP,
    "rdrop.alpha_warmup": _WITH_RDROP,
    "rdrop.ce_reduction": _WITH_RDROP,
    "rdrop.dropout": (*_WITH_RDROP, "two-pass", "dropout"),
    "train.label_smoothing": ("smoothing", "rdrop+smoothing"),
}
"""Keys in which built-in arms differ, and those that have them as configured."""


def report_comparison(folder: Path) -> Report:
    """All sections of a comparison's report; with two budgets, those of each.

    Raises:
        CheckpointError: there are no results, or they cannot be read.
    """
    every = open_results(folder)
    sections = []
    for results in every:
        prefix = "" if len(every) == 1 else f"{Path(results.file).stem}-"
        after = "" if len(every) == 1 else f" (the same {results.content['budget']})"
        sections += [
            _glance(results, prefix, after),
            _seeds(results, prefix, after),
            _differences(results, prefix, after),
            *_ensembles(results, prefix, after),
            _cost(results, prefix, after),
            _settings(results, prefix, after),
        ]
    first = every[0].content
    data = Path(str(first["data"].get("source"))).name
    summary = f"{words.in_words(every[0].arms)} on {data}, {wording.count(len(first['seeds']), 'paired seed')}."
    foot = f"rdrop {__version__}, from {words.in_words([results.file for results in every])} in {folder}"
    return Report(folder.name, "Comparison", summary, sections, foot)


def _glance(results: Results, prefix: str, after: str) -> Section:
    content = results.content
    blocks: list[Block] = [Notes([str(sentence) for sentence in content["verdict"]], "verdict")]
    if cautions := content.get("cautions"):
        blocks.append(Notes([f"{caution}." for caution in cautions], "caution"))
    splits = ", ".join(f"{name} {size:,}" for name, size in content["data"]["splits"].items())
    facts: list[tuple[str, str]] = [
        ("Data", f"{content['data'].get('source')} ({splits})"),
        ("Seeds", ", ".join(map(str, content["seeds"]))),
        ("Compared with", str(content["baseline"])),
        (
            "Chosen metric",
            f"{pictures.title_of(content['metric'])}, on validation for the best epoch, on test for the verdict",
        ),
        ("Budget", what_is_equal(content)),
    ]
    average = content.get("f1_average")
    after_temperature = [name for name in results.metrics if name.endswith("_calibrated") or name == "temperature"]
    blocks += [
        Facts(facts),
        _means(
            results,
            [name for name in results.metrics if name not in after_temperature],
            f"Test, means ± standard deviations over seeds{f'; F1: {average}' if average else ''}",
        ),
    ]
    if after_temperature:
        blocks.append(_means(results, after_temperature, "After one temperature for each run, fitted on validation"))
    return Section(f"{prefix}verdict", f"Verdict{after}", blocks)


def _means(results: Results, metrics: list[str], title: str) -> Table:
    rows = []
    for name, arm in results.content["arms"].items():
        cells = []
        for metric in metrics:
            statistics = arm["metrics"].get(metric) or {}
            spread = f" ± {statistics['sd']:.4f}" if statistics.get("sd") is not None else ""
            cells.append(words.number(statistics.get("mean")) + (spread if statistics.get("mean") is not None else ""))
        rows.append([name, *cells])
    return Table(title, ["arm", *map(_head, metrics)], rows)


def _head(metric: str) -> str:
    return "temperature" if metric == "temperature" else pictures.title_of(metric)


def _seeds(results: Results, prefix: str, after: str) -> Section:
    shown = [name for name in (*results.metrics, *_LATER) if name != "temperature"]
    order = list(dict.fromkeys(shown))
    charts = [picture for name in order if (picture := pictures.seeds(results, name, prefix))]
    lead = "Every point is a run. Below an arm's points stand their mean and its 95 % t interval."
    return Section(
        f"{prefix}seeds",
        f"Every seed{after}",
        [SideBySide(charts)] if charts else [],
        lead if charts else "",
        [] if charts else ["Left out: the results name no runs with figures."],
    )


def _differences(results: Results, prefix: str, after: str) -> Section:
    content = results.content
    plain = list(dict.fromkeys(gap["metric"].removesuffix("_calibrated") for gap in content["differences"]))
    charts = [picture for name in plain if (picture := pictures.forest(results, name, prefix))]
    if not charts:
        return Section(f"{prefix}differences", f"Differences{after}", missing=["Left out: there is only one arm."])
    lead = (
        f"Paired by seed, each arm minus {content['baseline']}. Lines are 95 % t intervals over seeds; pale bars are"
        " 95 % bootstrap intervals over test examples."
    )
    blocks: list[Block] = [SideBySide(charts)]
    if tests := content.get("tests"):
        names = {
            "p_value": "p",
            "p_holm": "p (Holm)",
            "interval_seeds": "95 % over seeds",
            "interval_examples": "95 % over examples",
        }
        blocks.append(Facts([(title, str(tests[key])) for key, title in names.items() if key in tests]))
    return Section(f"{prefix}differences", f"Differences to {content['baseline']}{after}", blocks, lead)


def _ensembles(results: Results, prefix: str, after: str) -> list[Section]:
    ensembles = results.content.get("ensembles")
    if not isinstance(ensembles, dict) or not ensembles:
        return []
    metrics = [
        name
        for name in results.metrics
        if any(isinstance(each, dict) and each.get(name) is not None for each in ensembles.values())
    ]
    rows = []
    for arm, values in ensembles.items():
        mean = results.content["arms"].get(arm, {}).get("metrics", {})
        rows.append([arm, "ensemble", *(words.number(values.get(name)) for name in metrics)])
        rows.append([arm, "mean run", *(words.number((mean.get(name) or {}).get("mean")) for name in metrics)])
    table = Table(
        "Test, the mean of the probabilities of all runs of an arm", ["arm", "", *map(_head, metrics)], rows, texts=2
    )
    lead = (
        "What an arm gives if the probabilities of its runs are averaged. It costs as much as all of them to predict."
    )
    disagreement = {arm: values["disagreement"] for arm, values in ensembles.items() if "disagreement" in values}
    if disagreement:
        each = ", ".join(f"{arm} {words.percent(share)}" for arm, share in disagreement.items())
        lead += f" Test examples to which two runs give different labels, the mean over all pairs: {each}."
    return [Section(f"{prefix}ensembles", f"Ensembles{after}", [table], lead)]


def _cost(results: Results, prefix: str, after: str) -> Section:
    candidates = (pictures.cost(results, prefix), pictures.courses(results, prefix))
    charts: list[Picture] = [picture for picture in candidates if picture is not None]
    missing = []
    if candidates[0] is None:
        missing.append("No times: the results hold none.")
    if candidates[1] is None:
        missing.append(f"No courses: {results.fault or 'the runs have no evaluations'}.")
    elif results.fault:
        missing.append(f"Not all courses: {results.fault}.")
    blocks: list[Block] = [SideBySide(charts)] if charts else []
    return Section(f"{prefix}cost", f"Cost and course{after}", blocks, missing=missing)


def _settings(results: Results, prefix: str, after: str) -> Section:
    content = results.content
    facts: list[tuple[str, Any]] = []
    if shared := content.get("shared"):
        facts.append(("All arms", ", ".join(f"{key} {as_yaml(value)}" for key, value in shared.items())))
    if environments := content.get("environments"):
        facts.append(("Machine and versions", [str(each) for each in environments]))
    facts += [
        ("Fingerprint of the data", str(content["data"].get("fingerprint", "–"))),
        ("Folder", str(results.folder)),
    ]
    keys = list(dict.fromkeys(key for arm in content["arms"].values() for key in arm["settings"]))
    rows = [
        [name, *(as_yaml(arm["settings"][key]) if key in arm["settings"] else "–" for key in keys)]
        for name, arm in content["arms"].items()
    ]
    blocks: list[Block] = [Facts(facts), Table("What the arms differ in", ["arm", *keys], rows, texts=1 + len(keys))]
    command, problem = _command(results)
    if command:
        blocks.append(Command(command, "The command that makes this comparison again"))
    blocks += [_cells(results)] if results.cells else []
    return Section(f"{prefix}settings", f"Settings and runs{after}", blocks, missing=[problem] if problem else [])


def _command(results: Results) -> tuple[str | None, str | None]:
    """The `rdrop compare` command, from the configuration that a run recorded; or why there is none."""
    content = results.content
    first = next(
        (cell for cell in results.cells if cell["arm"] == results.arms[0] and cell["seed"] == content["seeds"][0]),
        None,
    )
    run = run_of(results.folder, first) if first else None
    if run is None:
        return None, "No command: the results name no runs."
    try:
        config = recorded_config(run)
    except RDropError as error:
        return None, f"No command: {error.message}."
    names = {arm: without_factor(arm) if content.get("budget") == "compute" else arm for arm in results.arms}
    is_rival = {
        arm: names[arm] in RIVALS and all(key.startswith(_OF_RIVALS) for key in content["arms"][arm]["settings"])
        for arm in results.arms
    }
    built_in = [names[arm] for arm in results.arms if names[arm] in CLASSIC or is_rival[arm]]
    line = ["rdrop", "compare", config.data.source]
    line += ["--arms", ",".join(built_in)] if built_in else []
    for arm in results.arms:
        if names[arm] not in built_in:
            settings = content["arms"][arm]["settings"]
            own = [f"{key}={as_yaml(value)}" for key, value in settings.items() if key != "train.epochs"]
            line += ["--arm", f"{names[arm]}:{','.join(own)}"]
    line += ["--seeds", str(len(content["seeds"])), "--seed", str(content["seeds"][0])]
    line += ["--budget", "compute"] if content.get("budget") == "compute" else []
    varied = {key for arm in content["arms"].values() for key in arm["settings"]}
    aside = {"data.source", "train.seed", *varied}
    base = load_config(None, [("train.early_stopping.patience", 0)])
    line += assignments(config, aside_from=aside, base=base)
    plain = flatten(base.model_dump())
    for key, arms in _CONFIGURED.items():
        value = _configured(content, key, arms)
        if value is not None and value != plain[key]:
            line += ["--set", f"{key}={as_yaml(value)}"]
    return shell.join(line), None


def _configured(content: Any, key: str, takers: tuple[str, ...]) -> Any:
    """The value that built-in arms take from the common configuration."""
    arms = {without_factor(name): arm["settings"] for name, arm in content["arms"].items()}
    return next((arms[name][key] for name in takers if key in arms.get(name, {})), None)


def _cells(results: Results) -> Table:
    metric = results.content["metric"]
    rows = []
    for cell in results.cells:
        value = dict(results.values(cell["arm"], metric)).get(cell["seed"])
        epoch = cell.get("best_epoch")
        rows.append(
            [
                str(cell["arm"]),
                str(cell.get("run", "–")),
                str(cell["seed"]),
                words.number(value),
                "–" if epoch is None else f"{epoch:g}",
                wording.duration(cell.get("seconds")),
            ]
        )
    heads = ["arm", "run", "seed", f"test {pictures.title_of(metric)}", "best epoch", "time"]
    return Table("Every run", heads, rows, texts=2)
