"""Memory of a container, and cores."""

from types import SimpleNamespace

import psutil
import pytest

from rdrop_cli.core.doctor import resources

GIB = 2**30
TOP = "sys/fs/cgroup"
SELF = "proc/self/cgroup"
CASES = {  # files, bytes that are available, the limit
    "no control groups": ({}, 8 * GIB, None),
    "no limit": ({SELF: "0::/a\n", f"{TOP}/a/memory.max": "max\n", f"{TOP}/a/memory.current": "1\n"}, 8 * GIB, None),
    "version 2": (
        {SELF: "0::/a\n", f"{TOP}/a/memory.max": f"{4 * GIB}\n", f"{TOP}/a/memory.current": f"{GIB}\n"},
        3 * GIB,
        4 * GIB,
    ),
    "files that were read are given back": (
        {
            SELF: "0::/a\n",
            f"{TOP}/a/memory.max": f"{4 * GIB}\n",
            f"{TOP}/a/memory.current": f"{3 * GIB}\n",
            f"{TOP}/a/memory.stat": f"anon {GIB}\ninactive_file {2 * GIB}\n",
        },
        3 * GIB,
        4 * GIB,
    ),
    "the group around it is smaller": (
        {
            SELF: "0::/a/b\n",
            f"{TOP}/a/memory.max": f"{2 * GIB}\n",
            f"{TOP}/a/memory.current": "0\n",
            f"{TOP}/a/b/memory.max": f"{6 * GIB}\n",
            f"{TOP}/a/b/memory.current": "0\n",
        },
        2 * GIB,
        2 * GIB,
    ),
    "more than the machine has": (
        {SELF: "0::/\n", f"{TOP}/memory.max": f"{64 * GIB}\n", f"{TOP}/memory.current": f"{GIB}\n"},
        8 * GIB,
        None,
    ),
    "version 1": (
        {
            SELF: "5:hugetlb,memory:/a\n",
            f"{TOP}/memory/memory.limit_in_bytes": f"{2**63 - 4096}\n",
            f"{TOP}/memory/memory.usage_in_bytes": "0\n",
            f"{TOP}/memory/a/memory.limit_in_bytes": f"{4 * GIB}\n",
            f"{TOP}/memory/a/memory.usage_in_bytes": f"{GIB}\n",
        },
        3 * GIB,
        4 * GIB,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_memory_is_what_machine_and_container_leave(case, tmp_path, monkeypatch):
    files, available, limit = CASES[case]
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=16 * GIB, available=8 * GIB))
    (found,) = resources.memory(tmp_path)
    assert found.value == {"total_bytes": 16 * GIB, "available_bytes": available, "limit_bytes": limit}
    assert (found.problem is not None) == (available < 3 * GIB)
    assert ("this container may use" in found.text) == (limit is not None)


def test_a_folder_that_is_not_there_yet_is_looked_for_in_the_one_around_it(in_empty_folder):
    (found,) = resources.folder("runs", in_empty_folder / "a" / "b")
    assert found.value["exists"] is False and found.value["writable"] is True
    assert found.text.endswith("(not there yet)")
