"""What is said before a model is published."""

from dataclasses import replace
from pathlib import Path

from rdrop_cli.core.publishing.contents import Contents, File
from rdrop_cli.core.publishing.push import PushPlan
from rdrop_cli.terminal import push_view

CONTENTS = Contents(
    Path("runs/a"), (File("config.json", 2048, b""),), {"a.txt": "odd", "b.txt": "odd"}, ("x", "y"), False
)
PLAN = PushPlan(CONTENTS, "me/x", "https://hub", exists=False, private=True)


def test_where_it_goes_and_who_sees_it():
    assert push_view.destination(PLAN) == "To https://hub/me/x, a new private repository: 1 file, 2 KiB"
    assert push_view.question(PLAN) == "Publish 1 file, 2 KiB as me/x, where only its owner can see it?"
    there = replace(PLAN, exists=True, private=False)
    assert push_view.destination(there) == "To https://hub/me/x, a public repository that exists: 1 file, 2 KiB"
    assert push_view.question(there) == "Publish 1 file, 2 KiB as me/x, where everyone can see it?"


def test_what_stays_behind_is_named_and_of_what_stays_there_the_first_ten():
    kept = tuple(f"{index}.txt" for index in range(1012))
    left_out, stays = push_view.remarks(replace(PLAN, kept=kept))
    assert left_out == "Left out of best/: a.txt, b.txt (odd)"
    assert stays.endswith(" 8.txt, 9.txt and 1,002 more")
    assert len(list(push_view.remarks(replace(PLAN, contents=replace(CONTENTS, left_out={}))))) == 0
