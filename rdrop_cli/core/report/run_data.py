"""What a run was trained on: classes, lengths, repeats, rows left out, columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from rdrop_cli import wording
from rdrop_cli.core.data import left_out
from rdrop_cli.core.data.columns import in_words
from rdrop_cli.core.report import drawing, words
from rdrop_cli.core.report.parts import Facts, Picture, Section, SideBySide, Table
from rdrop_cli.core.report.run_documents import SPLITS
from rdrop_cli.core.report.run_examples import MOVED
from rdrop_cli.core.runs import layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rdrop_cli.core.report.parts import Block
    from rdrop_cli.core.report.run_documents import RunDocuments
    from rdrop_cli.core.report.view import RunView

_MOST_CLASSES = 16
_BARS = 24


def data_card(view: RunView) -> Section:
    """The section about the data."""
    run, record = view.run, view.run.record
    if not record:
        return Section("data", "Data", missing=[f"Left out: {run.no(layout.DATA)}."])
    blocks: list[Block] = [Facts(_facts(run))]
    classes = {name: counts for name, counts in (record.get("classes") or {}).items() if counts}
    lengths = {
        split: split_lengths
        for split in SPLITS
        if (split_lengths := run.lengths(split)) is not None and len(split_lengths)
    }
    pictures = [_balance(view.labels, classes)] if classes else []
    missing = []
    if lengths:
        pictures.append(_lengths(lengths, run.max_length))
    else:
        missing.append(f"No lengths: {MOVED if run.data is None else 'the tokenizer of the run cannot be read'}.")
    if pictures:
        blocks.append(SideBySide(pictures))
    if lengths:
        blocks.append(_length_table(lengths, run.max_length))
    return Section("data", "Data", blocks, "What the run was trained and measured on.", missing)


def _facts(run: RunDocuments) -> list[tuple[str, str | Sequence[str]]]:
    record = run.record
    source = record.get("source") or {}
    rows: list[tuple[str, str | Sequence[str]]] = [("Source", str(source.get("name", "–")))]
    if columns := record.get("columns"):
        rows.append(("Columns", in_words(columns)))
    splits = record.get("splits") or {}
    rows.append(("Examples", ", ".join(f"{name} {count:,}" for name, count in splits.items())))
    if ids := record.get("label_ids"):
        rows.append(("Labels", [f"{label} → {name}" if label != name else name for label, name in ids.items()]))
    report = run.data.report if run.data else {}
    if report.get("repeats") is not None:
        text = (
            f"{wording.count(report['repeats'], 'row')} with a text of an earlier row" if report["repeats"] else "none"
        )
        if conflicts := report.get("conflicts"):
            text += f"; {wording.count(conflicts, 'text')} with several labels"
        rows.append(("Repeats", text))
    omitted = left_out.sentences(record.get("left_out") or {})
    rows.append(("Left out", omitted or "no rows"))
    if fingerprint := record.get("fingerprint"):
        rows.append(("Fingerprint", str(fingerprint)))
    if record.get("prepared"):
        rows.append(("Prepared in", f"{record['prepared']}{'' if run.data else ' (moved, removed or changed since)'}"))
    return rows


def _balance(names: Sequence[str], classes: Mapping[str, Mapping[str, int]]) -> Picture:
    order = [name for name in SPLITS if name in classes] or list(classes)
    first = classes[order[0]]
    shown = (
        sorted(names, key=lambda name: -first.get(name, 0))[:_MOST_CLASSES]
        if len(names) > _MOST_CLASSES
        else list(names)
    )
    totals = {split: max(1, sum(classes[split].values())) for split in order}
    with drawing.sheet("balance", below="share of the split", height=max(170, 90 + 34 * len(shown))) as sheet:
        for index, split in enumerate(order):
            shares = [classes[split].get(name, 0) / totals[split] for name in shown]
            places = [row + (index - (len(order) - 1) / 2) * 0.24 for row in range(len(shown))]
            sheet.axes.hlines(places, 0, shares, color=drawing.SERIES[index], linewidth=2)
            look = {**drawing.style(index), "linestyle": "none"}
            sheet.axes.plot(shares, places, label=split, **look)
        drawing.rows(sheet.axes, words.labels(shown, 18))
        sheet.axes.set_xlim(left=0)
        drawing.percent(sheet.axes.xaxis)
        sheet.legend(3)
    rows = [
        [
            name,
            *(
                cell
                for split in order
                for cell in (
                    f"{classes[split].get(name, 0):,}",
                    words.percent(classes[split].get(name, 0) / totals[split]),
                )
            ),
        ]
        for name in names
    ]
    table = Table("Examples of each class", ["class", *(head for split in order for head in (split, "share"))], rows)
    more = f" The {len(shown)} most frequent of {len(names)} classes." if len(shown) < len(names) else ""
    text = f"The share of each class in {words.in_words(order)}.{more}"
    return Picture("balance", "Classes", sheet.svg, text, table, more.strip())


def _lengths(lengths: Mapping[str, NDArray[Any]], limit: int | None) -> Picture:
    longest = max(int(np.percentile(split_lengths, 99.5)) for split_lengths in lengths.values())
    if limit is not None and any((split_lengths > limit).any() for split_lengths in lengths.values()):
        longest = max(longest, limit)
    edges = np.unique(np.linspace(0, longest + 1, _BARS + 1).round().astype(int))
    rows = []
    with drawing.sheet("data-lengths", title="share of the split", below="tokens") as sheet:
        for index, (split, split_lengths) in enumerate(lengths.items()):
            counts = np.histogram(np.minimum(split_lengths, longest), edges)[0] / len(split_lengths)
            look = drawing.style(index, with_markers=False)
            sheet.axes.stairs(counts, edges, label=split, color=look["color"], linestyle=look["linestyle"], linewidth=2)
            rows.append(counts)
        if limit is not None and limit <= longest:
            sheet.axes.axvline(limit, color=drawing.INK, linewidth=1, linestyle=(0, (2, 2)))
        sheet.axes.set_xlim(0, longest + 1)
        sheet.axes.set_ylim(bottom=0)
        drawing.percent(sheet.axes.yaxis)
        sheet.legend(3)
    body = [
        [f"{low}–{high - 1}" if high - low > 1 else f"{low}", *(words.percent(float(each[index])) for each in rows)]
        for index, (low, high) in enumerate(pairwise(edges.tolist()))
    ]
    table = Table("Share of the examples by tokens; the last row includes longer ones", ["tokens", *lengths], body)
    has_limit = limit is not None and limit <= longest
    note = (
        f"The dashed line is the model's limit of {limit} tokens."
        if has_limit
        else f"No text comes near the limit of {limit} tokens."
        if limit
        else ""
    )
    text = f"Outlines of the distribution of lengths in {words.in_words(list(lengths))}."
    return Picture("data-lengths", "Lengths in tokens", sheet.svg, text, table, note)


def _length_table(lengths: Mapping[str, NDArray[Any]], limit: int | None) -> Table:
    rows = []
    for split, split_lengths in lengths.items():
        cut = split_lengths[split_lengths > limit] if limit is not None else split_lengths[:0]
        lost = int((cut - limit).sum()) if limit is not None else 0
        middle, long = (int(value) for value in np.percentile(split_lengths, [50, 95]))
        rows.append(
            [
                split,
                f"{middle:,}",
                f"{long:,}",
                f"{int(split_lengths.max()):,}",
                words.percent(len(cut) / len(split_lengths), 2),
                words.percent(lost / max(1, int(split_lengths.sum())), 2),
            ]
        )
    heads = ["", "median", "95 % at most", "longest", "truncated", "tokens lost"]
    return Table("Tokens before truncation", heads, rows)
