"""The comparisons behind the README's "Does it help?".

    python benchmarks/evidence.py

Each is one `rdrop compare`, run where it stands in comparisons/: what was trained before is not trained again, and an
interrupted one resumes. Their results are then kept in benchmarks/results/, and the README's tables printed.
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

from rdrop_cli.core.comparison.summary import differences_table, means_table, verdict_list

KEPT = Path(__file__).parent / "results" / "comparisons"
ALPHA_1 = "--arm rdrop-alpha1:rdrop.alpha=1,train.label_smoothing=0"
COMPARISONS = {
    "rotten-tomatoes-1000": f"rdrop compare --train-examples 1000 --epochs 4 {ALPHA_1}",
    "rotten-tomatoes-1000-compute": f"rdrop compare --train-examples 1000 --epochs 4 {ALPHA_1} --budget compute",
    "imdb-1000": "rdrop compare --config imdb-starter --train-examples 1000 --batch-size 16"
    f" --set data.validation=0.02 --set data.test=0.04 {ALPHA_1}",
    "rotten-tomatoes": "rdrop compare --arms plain,rdrop+smoothing"
    " --arm rdrop-alpha1+smoothing:rdrop.alpha=1 --seeds 3",
}


def run(name: str) -> None:
    """Run a comparison and keep its results: the cells as CSV, everything else as JSON, and the picture."""
    command = [sys.executable, "-m", "rdrop_cli", *shlex.split(COMPARISONS[name])[1:], "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    document: dict[str, Any] = json.loads(done.stdout)
    del document["cells"]  # the CSV has them
    KEPT.mkdir(parents=True, exist_ok=True)
    content = {"command": COMPARISONS[name], **document}
    (KEPT / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    stem = "results" if document["budget"] == "steps" else f"results-{document['budget']}"
    for kind in ("csv", "png"):
        shutil.copyfile(Path(document["comparison"]) / f"{stem}.{kind}", KEPT / f"{name}.{kind}")


def section(kept: dict[str, Any]) -> str:
    """What the README shows of a kept comparison."""
    return "\n\n".join(
        [
            f"```bash\n{kept['command']}\n```",
            means_table(kept),
            verdict_list(kept),
            f"<details><summary>All differences to {kept['baseline']}</summary>",
            differences_table(kept),
            "</details>",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"Of {', '.join(COMPARISONS)}. Default: all.")
    parser.add_argument("--show", action="store_true", help="Run nothing; print the README's tables of what is kept.")
    args = parser.parse_args()
    for name in args.names or COMPARISONS:
        if not args.show:
            run(name)
        shown = section(json.loads((KEPT / f"{name}.json").read_text(encoding="utf-8")))
        sys.stdout.write(shown + "\n\n")


if __name__ == "__main__":
    main()
