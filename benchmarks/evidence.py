"""The comparisons behind `docs/results.md`.

    python benchmarks/evidence.py

Each is one `rdrop compare`, run where its comparisons/ folder is: what was trained before is not trained again, and an
interrupted one resumes. Their results are then kept in benchmarks/results/, and the page is written.

What is compared is written here before it is trained: the arms, the seeds, and the metric of the verdict, which is F1
(`train.metric`) unless the command says otherwise. The seeds from 1 on had been used for nothing before.

data/trec6 and data/mrpc hold train.csv and test.csv: TREC-6 with columns text and label (Li and Roth 2002), MRPC with
sentence1, sentence2 and label (Dolan and Brockett 2005), as their authors split them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from results_page import IMAGES, KEPT, PAGE, make_page

ALPHA_1 = "--arm rdrop-alpha1:rdrop.alpha=1,train.label_smoothing=0"
COMPARISONS = {
    "rotten-tomatoes-1000": f"rdrop compare --train-examples 1000 --epochs 4 {ALPHA_1}",
    "rotten-tomatoes-1000-compute": f"rdrop compare --train-examples 1000 --epochs 4 {ALPHA_1} --budget compute",
    "imdb-1000": "rdrop compare --config imdb-starter --train-examples 1000 --batch-size 16"
    f" --set data.validation=0.02 --set data.test=0.04 {ALPHA_1}",
    "rotten-tomatoes": "rdrop compare --arms plain,rdrop+smoothing"
    " --arm rdrop-alpha1+smoothing:rdrop.alpha=1 --seeds 3",
    "rivals-rotten-tomatoes-1000": "rdrop compare --train-examples 1000 --epochs 4"
    " --arms plain,smoothing,two-pass,rdrop,rdrop+smoothing,ema,r3f --seed 1 --seeds 10 --threads 1"
    " --out comparisons/rivals-rotten-tomatoes-1000",
    "trec6-1000": "rdrop compare data/trec6 --train-examples 1000 --epochs 4 --seed 1 --seeds 5 --threads 1"
    " --out comparisons/trec6-1000",
    "mrpc-1000": "rdrop compare data/mrpc --train-examples 1000 --epochs 4 --seed 1 --seeds 5 --threads 1"
    " --out comparisons/mrpc-1000",
}


def run(name: str, on: str | None, *, is_busy: bool) -> None:
    """Run a comparison and keep its results: the runs as CSV, everything else as JSON, and the picture.

    Args:
        is_busy: The machine did other work beside, so the times of the runs say nothing and are left out.
    """
    command = [sys.executable, "-m", "rdrop_cli", *shlex.split(COMPARISONS[name])[1:], "--json"]
    command += ["--on", on] if on else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    document: dict[str, Any] = json.loads(done.stdout)
    del document["cells"]  # the CSV has them
    if is_busy:
        for arm in document["arms"].values():
            arm["seconds"] = None
    KEPT.mkdir(parents=True, exist_ok=True)
    content = {"command": COMPARISONS[name], **document}
    (KEPT / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    stem = "results" if document["budget"] == "steps" else f"results-{document['budget']}"
    for kind, folder in (("csv", KEPT), ("png", IMAGES)):
        shutil.copyfile(Path(document["comparison"]) / f"{stem}.{kind}", folder / f"{name}.{kind}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"Any of {', '.join(COMPARISONS)}. Default: all.")
    parser.add_argument("--on", help="As for rdrop compare; with a fixed number of --threads it changes no result.")
    parser.add_argument("--busy", action="store_true", help="Leave out times: the machine does other work too.")
    parser.add_argument("--show", action="store_true", help="Run nothing; write the page from what is kept.")
    args = parser.parse_args()
    if not args.show:
        for name in args.names or COMPARISONS:
            run(name, args.on, is_busy=args.busy)
    PAGE.write_text(make_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
