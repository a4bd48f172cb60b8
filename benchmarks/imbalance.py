"""A rare class: class weights against none, and a threshold chosen on validation, with the same seeds and data.

    python benchmarks/imbalance.py --data SMS.csv --positive spam --save sms
    python benchmarks/imbalance.py --train-examples 500 --epochs 4 --set data.validation=0.1 --save reviews
    python benchmarks/imbalance.py --show sms

Trains the starter with and without `train.class_weights=balanced` through `rdrop compare`, on 250 examples and five
seeds unless the options, which are those of `rdrop compare`, say otherwise; half of the data is the test split. Without
--data it takes the built-in reviews, all negative ones and as many of the positive ones as make a tenth of the whole.

The threshold is the one with the highest F1 of the positive class on the run's own validation split, half-way between
two neighbouring probabilities (of several such, the lowest). Runs stand in --work, where finished ones are not trained
again. `--show` prints kept results as the documentation has them.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import machine
import numpy as np
from rich.console import Console
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from rdrop_cli.core.metrics.calibration import at_temperature, fit_temperature
from rdrop_cli.core.metrics.losses import nll_per_example
from rdrop_cli.core.metrics.significance import paired_t
from rdrop_cli.core.runs.outputs import load_cost, load_predictions
from rdrop_cli.core.storage import starter

if TYPE_CHECKING:
    from rdrop_cli.core.metrics.predictions import Predictions

KEPT = machine.RESULTS / "imbalance"
ARMS = {"as it is": "rdrop+smoothing", "class weights": "balanced"}
METRICS = ("f1", "precision", "recall", "roc_auc", "nll", "nll_calibrated")
TITLES = ("F1", "precision", "recall", "ROC-AUC", "NLL", "NLL calibrated")
COMPARE = [
    *("--arms", "rdrop+smoothing", "--arm", "balanced:train.class_weights=balanced"),
    *("--train-examples", "250", "--epochs", "6", "--set", "data.validation=0.05", "--set", "data.test=0.5"),
    *("--set", "train.tensorboard=false"),
]


def thinned_reviews(path: Path) -> Path:
    """Write the built-in reviews: the negative ones, and as many of the positive ones as make a tenth of the whole."""
    with starter.reviews_file().open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["source"] == starter.DATASETS["rotten-tomatoes"]]
    negative, positive = ([row["text"] for row in rows if row["label"] == label] for label in "01")
    kept = [(text, "negative") for text in negative] + [(text, "positive") for text in positive[: len(negative) // 9]]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("text", "label"), *kept])
    return path


def best_threshold(found: Predictions) -> float:
    """The threshold with the highest F1 of class 1; the lowest of several."""
    scores = np.unique(found.probabilities[:, 1])
    candidates = (scores[1:] + scores[:-1]) / 2
    return float(candidates[int(np.argmax([scores_at(found, each)[0] for each in candidates]))])


def scores_at(found: Predictions, threshold: float) -> tuple[float, float, float]:
    """F1, precision and recall of class 1."""
    predicted = found.probabilities[:, 1] >= threshold
    precision, recall, f1, _ = precision_recall_fscore_support(
        found.labels, predicted, average="binary", zero_division=0.0
    )
    return float(f1), float(precision), float(recall)


def measure(work: Path, seed: int) -> list[dict[str, Any]]:
    """Both arms of a seed on test, each at 0.5 and at the threshold chosen on validation."""
    rows = []
    for way, arm in ARMS.items():
        run = work / arm / f"seed{seed}"
        validation, test = load_predictions(run, "validation"), load_predictions(run, "test")
        temperature = fit_temperature(validation.labels, validation.probabilities).value
        of_probabilities = (
            float(roc_auc_score(test.labels, test.probabilities[:, 1])),
            float(nll_per_example(test.labels, test.probabilities).mean()),
            float(nll_per_example(test.labels, at_temperature(test.probabilities, temperature)).mean()),
        )
        for name, threshold in ((way, 0.5), (f"{way}, threshold", best_threshold(validation))):
            values = (*scores_at(test, threshold), *of_probabilities)
            row = {"seed": seed, "way": name, "threshold": threshold, "best_epoch": load_cost(run)["best_epoch"]}
            rows.append({**row, **dict(zip(METRICS, values, strict=True))})
    return rows


def summarize(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation of each way, and its paired differences to the first, with 95 % t intervals."""
    ways = list(dict.fromkeys(row["way"] for row in rows))
    values = {
        (way, name): np.array([row[name] for row in rows if row["way"] == way]) for way in ways for name in METRICS
    }
    summary: dict[str, Any] = {"ways": {}, "differences": {}}
    for way in ways:
        found = {name: values[way, name] for name in METRICS}
        summary["ways"][way] = {
            name: {"mean": float(each.mean()), "sd": float(each.std(ddof=1)) if len(each) > 1 else None}
            for name, each in found.items()
        }
        if way != ways[0]:
            tests = {name: paired_t(each - values[ways[0], name]) for name, each in found.items()}
            summary["differences"][way] = {
                name: {"mean": test.mean, "low": test.low, "high": test.high, "p": test.p_value}
                for name, test in tests.items()
            }
    return summary


def tables(kept: dict[str, Any]) -> str:
    """The kept results as Markdown."""
    lines = [f"| test | {' | '.join(TITLES)} |", f"| --- |{' ---: |' * len(TITLES)}"]
    for way, found in kept["ways"].items():
        cells = [f"{found[name]['mean']:.4f} ± {found[name]['sd'] or 0:.4f}" for name in METRICS]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    lines += ["", f"| difference to the first | {' | '.join(TITLES)} |", f"| --- |{' ---: |' * len(TITLES)}"]
    for way, found in kept["differences"].items():
        lines.append(f"| {way} | {' | '.join(_difference(found[name]) for name in METRICS)} |")
    return "\n".join(lines)


def _difference(found: dict[str, float | None]) -> str:
    if found["low"] is None or found["high"] is None or not found["high"] - found["low"]:
        return f"{found['mean']:+.4f}" if found["mean"] else "0"
    return f"{found['mean']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", metavar="FILE", help="A file of labelled texts with two classes, one of them rare.")
    parser.add_argument("--positive", default="positive", help="The rare class.")
    parser.add_argument("--work", type=Path, default=Path("imbalance"), help="Where the runs stand.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--save", metavar="NAME", help="Keep the results in benchmarks/results/imbalance/NAME.json.")
    parser.add_argument("--show", metavar="NAME", help="Print kept results.")
    args, settings = parser.parse_known_args()
    show = Console(soft_wrap=True, highlight=False, markup=False).print
    if args.show:
        show(tables(json.loads((KEPT / f"{args.show}.json").read_text(encoding="utf-8"))))
        return
    data = Path(args.data) if args.data else thinned_reviews(args.work / "reviews.csv")
    chosen = [*COMPARE, *settings, "--set", f"data.positive_label={args.positive}", "--seeds", str(args.seeds)]
    out = args.work / "runs"
    command = [sys.executable, "-m", "rdrop_cli", "compare", str(data), *chosen, "--out", str(out), "--json"]
    compared = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    rows = [row for seed in compared["seeds"] for row in measure(out, seed)]
    first = out / ARMS["as it is"] / f"seed{compared['seeds'][0]}"
    results = {
        "compare": " ".join(["rdrop compare FILE", *chosen]),
        "classes": json.loads((first / "data.json").read_text(encoding="utf-8"))["classes"],
        **summarize(rows),
        "runs": rows,
    }
    show(tables(results))
    if args.save:
        given = ["--data", "FILE", "--positive", args.positive] if args.data else []
        shown = " ".join(["python benchmarks/imbalance.py", *given, *settings, "--save", args.save])
        KEPT.mkdir(parents=True, exist_ok=True)
        show(f"Saved {machine.save(f'{KEPT.name}/{args.save}', shown, results)}")


if __name__ == "__main__":
    main()
