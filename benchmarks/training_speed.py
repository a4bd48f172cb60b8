"""Training speed: stock plain fine-tuning, stock R-Drop and rdrop on the same examples, in turn, in one run.

    python benchmarks/training_speed.py                                      # starter, Rotten Tomatoes
    python benchmarks/training_speed.py --data imdb --max-length 256         # starter, IMDb
    python benchmarks/training_speed.py --data imdb --max-length 512 --model roberta-base --batch-size 16   # a GPU
    python benchmarks/training_speed.py --model tiny --batches 4 --rounds 1  # seconds, to see that it works

`stock` is transformers' Trainer as it comes: random batches, padded to their longest text; float32 on a CPU, float16
autocast on a GPU. Its R-Drop is two forward passes, as in the method's published snippet. Each arm is a process of its
own; after a round that is not counted they take turns. The examples are those of batches spread evenly over an epoch
of rdrop's, from the shortest to the longest; the stock arms shuffle the same examples.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
from typing import Any

import machine
import numpy as np
import torch
from arms import ARMS, SEED, Job, build_model, work
from rich.console import Console
from rich.table import Table

from rdrop_cli.config import load_config
from rdrop_cli.core.data.prepare import prepare_data
from rdrop_cli.core.data.tokens import encode
from rdrop_cli.core.model.loading import quiet_transformers
from rdrop_cli.core.model.tokenizer import load_tokenizer
from rdrop_cli.core.storage import starter
from rdrop_cli.core.trainer.sampler import LengthGroupedSampler


def prepare(args: argparse.Namespace) -> Job:
    """Tokens of the data and the chosen batches."""
    config = load_config("starter", [("data.source", args.data)])
    data = prepare_data(config)
    train = data.splits["train"]
    chosen = np.random.default_rng(SEED).permutation(len(train))[: args.examples]
    tokenizer = load_tokenizer(str(starter.model_folder()), max_length=args.max_length)
    texts = [train.texts[index] for index in chosen]
    tokens = encode(tokenizer, texts, None, max_length=args.max_length)
    sampled = list(LengthGroupedSampler(tokens.lengths, args.batch_size, SEED))
    full = len(sampled) // args.batch_size * args.batch_size
    batches = sorted(
        np.asarray(sampled[:full]).reshape(-1, args.batch_size).tolist(), key=lambda b: tokens.lengths[b].max()
    )
    spread = np.linspace(0, len(batches) - 1, min(args.batches, len(batches))).astype(int)
    order = np.random.default_rng(SEED).permutation(spread)
    return Job(
        args.model,
        args.batch_size,
        tokens,
        np.asarray(train.labels)[chosen],
        [row for index in order for row in batches[index]],
    )


def flops(job: Job, arm: str) -> float:
    """Of the matrix products that real tokens need in one round, forward and backward (twice the forward).

    rdrop computes the last layer's query, output and feed-forward for one token; that work is not counted for it.
    """
    config = build_model(job.model).config
    width, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    lengths = job.tokens.lengths[np.asarray(job.order)].astype(float)
    linear = lengths * 2 * (4 * width**2 + 2 * width * inner)
    attention = lengths**2 * 4 * width
    total = layers * (linear + attention)
    if arm == "rdrop":
        first = 2 * (2 * width**2 * lengths + 2 * width**2 + 2 * width * inner) + lengths * 4 * width
        total = total - linear - attention + first
    return float(3 * total.sum() * (1 if arm == "stock plain" else 2))


def padding(job: Job, arm: str) -> float:
    """Share of the padded tokens that are padding; of random batches, the expectation over 20 shuffles."""
    lengths = job.tokens.lengths[np.asarray(job.order)]
    rng = np.random.default_rng(SEED)
    orders = [lengths] if arm == "rdrop" else [rng.permutation(lengths) for _ in range(20)]
    shares = []
    for order in orders:
        batches = [order[start : start + job.batch_size] for start in range(0, len(order), job.batch_size)]
        shares.append(1 - lengths.sum() / sum(batch.max() * len(batch) for batch in batches))
    return float(np.mean(shares))


def measure(job: Job, rounds: int, console: Console) -> dict[str, Any]:
    """Seconds of each arm and round, and peak memory."""
    context = multiprocessing.get_context("spawn")
    pipes = {}
    for arm in ARMS:
        pipes[arm], theirs = context.Pipe()
        context.Process(target=work, args=(arm, job, theirs), daemon=True).start()
        theirs.close()  # so that a process that ends early is noticed
        pipes[arm].recv()
    seconds: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for index in range(rounds + 1):
        for arm, pipe in pipes.items():
            pipe.send(True)
            took = pipe.recv()
            console.print(
                f"round {index or 'to warm up'}: {arm} {len(job.order) / took:.1f} examples/s", highlight=False
            )
            if index:
                seconds[arm].append(took)
    peaks = {}
    for arm, pipe in pipes.items():
        pipe.send(False)
        peaks[arm] = pipe.recv()
    return {"seconds": seconds, "peaks": peaks}


def summarize(job: Job, measured: dict[str, Any], product: float) -> dict[str, Any]:
    """Figures by arm; rates are medians over the rounds, ratios medians of the rounds' ratios."""
    tokens = int(job.tokens.lengths[np.asarray(job.order)].sum())
    arms, ours = {}, measured["seconds"]["rdrop"]
    for arm in ARMS:
        seconds = measured["seconds"][arm]
        median = statistics.median(seconds)
        arms[arm] = {
            "examples_per_second": len(job.order) / median,
            "real_tokens_per_second": tokens / median,
            "padding_share": padding(job, arm),
            "model_flops_per_second": flops(job, arm) / median,
            "share_of_bfloat16_products": flops(job, arm) / median / product,
            "peak_memory_bytes": measured["peaks"][arm],
            "seconds_by_round": seconds,
            "rdrop_is_faster_by": statistics.median(theirs / mine for theirs, mine in zip(seconds, ours, strict=True)),
        }
    return arms


def show(console: Console, title: str, arms: dict[str, Any]) -> None:
    table = Table(title=title, title_justify="left")
    for heading in (
        "arm",
        "examples/s",
        "tokens/s",
        "padding",
        "GFLOP/s",
        "of products",
        "peak GiB",
        "rdrop faster by",
    ):
        table.add_column(heading, justify="left" if heading == "arm" else "right")
    for arm, row in arms.items():
        table.add_row(
            arm,
            f"{row['examples_per_second']:.1f}",
            f"{row['real_tokens_per_second']:,.0f}",
            f"{row['padding_share']:.0%}",
            f"{row['model_flops_per_second'] / 1e9:,.0f}",
            f"{row['share_of_bfloat16_products']:.0%}",
            f"{row['peak_memory_bytes'] / 2**30:.1f}",
            f"{row['rdrop_is_faster_by']:.2f}x",
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="rotten-tomatoes", choices=["rotten-tomatoes", "imdb"])
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--model", default="starter", choices=["starter", "roberta-base", "mpnet-base", "tiny"])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--examples", type=int, default=6000, help="Examples of the data that batches are made of.")
    parser.add_argument("--batches", type=int, default=32, help="Batches in a round.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", action="store_true", help="Keep the results in benchmarks/results/.")
    args = parser.parse_args()
    console = Console()
    console.width = max(console.width, 110)
    quiet_transformers()
    job = prepare(args)
    products = {name: machine.product_flops(getattr(torch, name)) for name in ("bfloat16", "float32")}
    arms = summarize(job, measure(job, args.rounds, console), products["bfloat16"])
    lengths = job.tokens.lengths[np.asarray(job.order)]
    size = f"{len(job.order):,} examples of {lengths.mean():.0f} tokens, batch {args.batch_size}"
    title = f"{args.model} on {args.data}, {size}"
    show(console, title, arms)
    console.print(
        ", ".join(f"{name} products {value / 1e9:,.0f} GFLOP/s" for name, value in products.items()), highlight=False
    )
    if args.save:
        where = f"training-{args.model}-{args.data}-{args.max_length}-{'gpu' if torch.cuda.is_available() else 'cpu'}"
        command = " ".join(["python benchmarks/training_speed.py", *sys.argv[1:]])
        console.print(
            f"Saved {machine.save(where, command, {'arms': arms, 'product_flops': products})}", highlight=False
        )


if __name__ == "__main__":
    main()
