"""What CONTRIBUTING.md shows works as it is written."""

import re
from pathlib import Path

CONTRIBUTING = Path(__file__).parent.parent / "CONTRIBUTING.md"


def test_the_python_session_does_what_the_commands_do(rdrop, reviews, tiny_model, tiny_args, capsys):
    rdrop("train", reviews, *tiny_args, "--out", "runs/mine")
    predicted = rdrop.json("predict", "great movie", "--checkpoint", "runs/mine")["predictions"][0]["label"]
    f1 = rdrop.json("evaluate", "runs/mine", reviews)["metrics"]["f1"]
    capsys.readouterr()

    (session,) = re.findall(r"```python\n(.*?)```", CONTRIBUTING.read_text(encoding="utf-8"), flags=re.S)
    assert len(session.strip().splitlines()) <= 11
    small = f'"starter", [("model.name", "{tiny_model}"), ("model.max_length", 32), '
    exec(session.replace('"starter", [', small), {})
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == [predicted, str(f1)]
    assert said[2].startswith("[") and "rdrop" in said[2]
    assert len(list(Path("comparisons").glob("*/*/seed*/metrics.json"))) == 4
