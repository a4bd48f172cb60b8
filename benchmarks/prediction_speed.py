"""Prediction speed: `transformers.pipeline` at its best batch size and rdrop on the same reviews, in turn, in one run.

    python benchmarks/prediction_speed.py --checkpoint runs/NAME

Both read texts and give labels with probabilities; loading is not counted. The pipeline's batch size is the fastest of
1, 8, 32 and 128 on the first 400 texts. rdrop runs as `rdrop predict` does: in the precision of the training, where
the machine has it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import machine
import numpy as np
from rich.console import Console
from rich.table import Table
from transformers import pipeline

from rdrop_cli.config import load_config
from rdrop_cli.core.data.prepare import prepare_data
from rdrop_cli.core.inference.backends.choice import open_classifier
from rdrop_cli.core.inference.inputs import Input
from rdrop_cli.core.inference.prediction import predict
from rdrop_cli.core.model.device import pick_device
from rdrop_cli.core.model.loading import quiet_transformers
from rdrop_cli.core.runs.checkpoint import find_checkpoint

BATCH_SIZES = (1, 8, 32, 128)
TRIAL = 400
CLOSE = 0.02


def timed(run: Callable[[list[str]], list[Any]], texts: list[str]) -> tuple[float, list[Any]]:
    """Texts per second, and what came out."""
    machine.synchronize()
    began = time.perf_counter()
    out = run(texts)
    machine.synchronize()
    return len(texts) / (time.perf_counter() - began), out


def margin(scores: dict[str, float]) -> float:
    """How far the two most probable classes are apart."""
    second, first = sorted(scores.values())[-2:]
    return first - second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="A run for two classes.")
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--save", action="store_true", help="Keep the results in benchmarks/results/.")
    args = parser.parse_args()
    console = Console()
    quiet_transformers()

    reviews = prepare_data(load_config("starter", [("data.source", "imdb")])).splits["train"].texts
    texts = [reviews[index] for index in np.random.default_rng(42).permutation(len(reviews))[: args.texts]]
    found = find_checkpoint(args.checkpoint)
    stock = pipeline("text-classification", model=found.name, top_k=None, device=pick_device())
    classifier = open_classifier(found)

    def by_pipeline(size: int) -> Callable[[list[str]], list[Any]]:
        return lambda some: list(stock(some, batch_size=size, truncation=True))

    def by_rdrop(some: list[str]) -> list[Any]:
        return list(predict(classifier, [Input(text) for text in some]))

    trials = {size: timed(by_pipeline(size), texts[:TRIAL])[0] for size in BATCH_SIZES}
    best = max(trials, key=lambda size: trials[size])
    by_rdrop(texts[:TRIAL])
    rates: dict[str, list[float]] = {"pipeline": [], "rdrop": []}
    for _ in range(args.rounds):
        rate, theirs = timed(by_pipeline(best), texts)
        rates["pipeline"].append(rate)
        rate, ours = timed(by_rdrop, texts)
        rates["rdrop"].append(rate)

    probabilities = [{entry["label"]: entry["score"] for entry in entries} for entries in theirs]
    apart = [margin(scores) > CLOSE for scores in probabilities]
    differ = [
        max(scores, key=scores.__getitem__) != item.label for scores, item in zip(probabilities, ours, strict=True)
    ]
    ratio = statistics.median(mine / other for mine, other in zip(rates["rdrop"], rates["pipeline"], strict=True))
    results = {
        "texts": len(texts),
        "max_length": classifier.backend.max_length,
        "precision": classifier.backend.precision,
        "pipeline_trials": trials,
        "pipeline_batch_size": best,
        "texts_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "rdrop_is_faster_by": ratio,
        "labels_that_differ": sum(differ),
        f"labels_that_differ_more_than_{CLOSE}_apart": sum(a and b for a, b in zip(apart, differ, strict=True)),
    }
    table = Table("", "texts/s", title=f"{len(texts):,} IMDb reviews, {classifier.backend.max_length} tokens at most")
    for size, rate in trials.items():
        table.add_row(f"pipeline, batch {size} ({TRIAL} texts)", f"{rate:.1f}")
    table.add_row(f"pipeline, batch {best}", f"{results['texts_per_second']['pipeline']:.1f}")
    table.add_row(f"rdrop, {classifier.backend.precision}", f"{results['texts_per_second']['rdrop']:.1f}")
    console.print(table)
    console.print(
        f"rdrop is faster by {ratio:.2f}x; {sum(differ)} labels differ, "
        f"{results[f'labels_that_differ_more_than_{CLOSE}_apart']} of them where the classes are over {CLOSE} apart",
        highlight=False,
    )
    if args.save:
        name = f"prediction-imdb-{classifier.backend.max_length}-{pick_device().type}"
        console.print(
            f"Saved {machine.save(name, ' '.join(['python benchmarks/prediction_speed.py', *sys.argv[1:]]), results)}"
        )


if __name__ == "__main__":
    main()
