"""Prediction speed: `transformers.pipeline` at its best batch size and rdrop's backends on the same texts, in turn.

    rdrop train --alpha 5 && rdrop export --int8
    python benchmarks/prediction_speed.py --checkpoint runs/NAME --save

All read texts and give labels with probabilities; loading is not counted, and all use as many threads. The texts are
2,000 IMDb reviews and 10,000 sentences of Rotten Tomatoes, its 8,530 and then again from the first. The pipeline's
batch size is the fastest of 1, 8, 32 and 128 on the first 400 texts of each kind. rdrop with PyTorch runs as `rdrop
predict --backend torch` does, in the precision of the training where the machine has it, and in float32.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

import machine
import numpy as np
from rich.console import Console
from rich.table import Table
from transformers import pipeline

from rdrop_cli import threads
from rdrop_cli.config import load_config
from rdrop_cli.core.data.prepare import prepare_data
from rdrop_cli.core.inference.backends.choice import open_classifier
from rdrop_cli.core.inference.inputs import Input
from rdrop_cli.core.inference.prediction import predict
from rdrop_cli.core.model import torch_threads
from rdrop_cli.core.model.device import pick_device
from rdrop_cli.core.model.loading import quiet_transformers
from rdrop_cli.core.runs.checkpoint import find_checkpoint

BATCH_SIZES = (1, 8, 32, 128)
TRIAL = 400
CLOSE = 0.02
SOURCES = {"reviews": ("imdb", 2_000), "sentences": ("rotten-tomatoes", 10_000)}
Classify = Callable[[list[str]], list[dict[str, float]]]
"""From texts to the probabilities of their classes."""


def load_texts(source: str, count: int) -> list[str]:
    """Texts in a random order; from the first again where there are fewer."""
    splits = prepare_data(load_config("starter", [("data.source", source)])).splits
    texts = [text for split in splits.values() for text in split.texts]
    return list(islice(cycle(texts[index] for index in np.random.default_rng(42).permutation(len(texts))), count))


def timed(classify: Classify, texts: list[str]) -> tuple[float, list[dict[str, float]]]:
    """Texts per second, and what came out."""
    machine.synchronize()
    began = time.perf_counter()
    out = classify(texts)
    machine.synchronize()
    return len(texts) / (time.perf_counter() - began), out


def margin(scores: dict[str, float]) -> float:
    """How far the two most probable classes are apart."""
    second, first = sorted(scores.values())[-2:]
    return first - second


def label(scores: dict[str, float]) -> str:
    return max(scores, key=scores.__getitem__)


def by_rdrop(checkpoint: Any, **settings: Any) -> Classify:
    classifier = open_classifier(checkpoint, **settings)
    return lambda texts: [item.probabilities for item in predict(classifier, map(Input, texts))]


def measure(texts: list[str], stock: Any, ours: dict[str, Classify], rounds: int) -> dict[str, Any]:
    """Rates of all, each round in turn, and how the labels agree with those of the pipeline in float32."""

    def by_pipeline(size: int) -> Classify:
        def classify(some: list[str]) -> list[dict[str, float]]:
            found = stock(some, batch_size=size, truncation=True)
            return [{entry["label"]: entry["score"] for entry in entries} for entries in found]

        return classify

    trials = {size: timed(by_pipeline(size), texts[:TRIAL])[0] for size in BATCH_SIZES}
    best = max(trials, key=lambda size: trials[size])
    arms = {"pipeline": by_pipeline(best), **ours}
    for classify in ours.values():
        classify(texts[:TRIAL])
    rates: dict[str, list[float]] = {name: [] for name in arms}
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(rounds):
        for name, classify in arms.items():
            rate, found[name] = timed(classify, texts)
            rates[name].append(rate)
    expected = found["pipeline"]
    apart = [margin(scores) > CLOSE for scores in expected]
    agreement = {}
    for name, values in found.items():
        differ = [label(one) != label(other) for one, other in zip(values, expected, strict=True)]
        agreement[name] = {
            "labels_changed": sum(differ),
            f"labels_changed_more_than_{CLOSE}_apart": sum(a and b for a, b in zip(apart, differ, strict=True)),
            "largest_difference": max(
                abs(one[key] - other[key]) for one, other in zip(values, expected, strict=True) for key in other
            ),
        }

    def ratio(name: str, other: str) -> float:
        return statistics.median(mine / theirs for mine, theirs in zip(rates[name], rates[other], strict=True))

    return {
        "texts": len(texts),
        "pipeline_trials": trials,
        "pipeline_batch_size": best,
        "texts_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "times_the_pipeline": {name: ratio(name, "pipeline") for name in ours},
        "times_torch": {name: ratio(name, "torch") for name in ours},
        "agreement_with_the_pipeline": agreement,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="A run for two classes, exported with --int8.")
    parser.add_argument("--texts", type=int, help="Most texts of each kind.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", action="store_true", help="Keep the results in benchmarks/results/.")
    args = parser.parse_args()
    console = Console()
    quiet_transformers()
    threads.set_thread_limits(None)
    torch_threads.apply_thread_limit()

    found = find_checkpoint(args.checkpoint)
    usual = open_classifier(found)
    length = usual.backend.max_length
    stock = pipeline("text-classification", model=found.name, top_k=None, device=pick_device())
    stock.tokenizer.model_max_length = length
    ours = {
        "torch": by_rdrop(found),
        "torch-float32": by_rdrop(found, precision="float32"),
        "onnx": by_rdrop(found, backend="onnx"),
        "onnx-int8": by_rdrop(found, backend="onnx-int8"),
    }
    results: dict[str, Any] = {"max_length": length, "torch_precision": usual.backend.precision}
    for kind, (source, count) in SOURCES.items():
        texts = load_texts(source, min(count, args.texts or count))
        results[kind] = measure(texts, stock, ours, args.rounds)
        show(console, f"{len(texts):,} {kind}, {length} tokens at most", results[kind])
    if args.save:
        name = f"prediction-{length}-{pick_device().type}"
        command = " ".join(["python benchmarks/prediction_speed.py", *sys.argv[1:]])
        console.print(f"Saved {machine.save(name, command, results)}")


def show(console: Console, title: str, results: dict[str, Any]) -> None:
    """The table of one kind of texts."""
    table = Table("", "texts/s", "x pipeline", "x torch", "labels changed", "largest difference", title=title)
    for name, rate in results["texts_per_second"].items():
        agreement = results["agreement_with_the_pipeline"][name]
        shown = f"pipeline, batch {results['pipeline_batch_size']}" if name == "pipeline" else f"rdrop, {name}"
        times = [results[key].get(name) for key in ("times_the_pipeline", "times_torch")]
        table.add_row(
            shown,
            f"{rate:.0f}",
            *(f"{value:.2f}" if value else "" for value in times),
            f"{agreement['labels_changed']:,}",
            f"{agreement['largest_difference']:.1e}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
