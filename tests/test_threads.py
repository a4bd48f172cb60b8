"""How many threads a command uses, and that those which wait do not occupy their cores."""

import os
import subprocess
import sys

import pytest

from rdrop_cli import threads

WITHOUT_A_WORD = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}


@pytest.fixture
def environment(monkeypatch):
    """An empty environment, of which nothing is left afterwards."""
    made: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", made)
    return made


def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**WITHOUT_A_WORD, **variables}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)


STARTED = "import sys\nfrom rdrop_cli.__main__ import main\nsys.argv = ['rdrop', '--version']\n"


GNU = f"GOMP_SPINCOUNT = '{threads.openmp_wait_variables()['GOMP_SPINCOUNT']}'"
INTEL = f"KMP_BLOCKTIME='{threads.openmp_wait_variables()['KMP_BLOCKTIME']}"


def test_pytorchs_threads_wait_as_the_command_says():
    code = f"{STARTED}try: main()\nexcept SystemExit: pass\nassert 'torch' not in sys.modules\nimport torch"
    told = run(code, OMP_DISPLAY_ENV="verbose").stderr
    assert GNU in told or INTEL in told.replace(" ", "")

    told = run(code, OMP_DISPLAY_ENV="verbose", OMP_WAIT_POLICY="active").stderr
    assert GNU not in told and INTEL not in told.replace(" ", "")


def test_importing_changes_nothing():
    code = "import os, rdrop_cli, rdrop_cli.app, rdrop_cli.core.loss\nprint([n for n in os.environ if 'OMP_' in n])"
    assert run(code).stdout == "[]\n"


@pytest.mark.parametrize("own", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "GOMP_CPU_AFFINITY", "KMP_BLOCKTIME"])
def test_what_the_user_has_set_is_left_alone(environment, own):
    environment[own] = "0"
    threads.let_waiting_threads_sleep()
    assert {name: environment[name] for name in environment if "OMP_" in name or "KMP_" in name} == {own: "0"}


def test_what_scikit_learn_sets_is_no_word_of_the_users(environment):
    environment["KMP_INIT_AT_FORK"] = "FALSE"
    environment["KMP_DUPLICATE_LIB_OK"] = "True"
    threads.let_waiting_threads_sleep()
    assert environment["GOMP_SPINCOUNT"] == threads.openmp_wait_variables()["GOMP_SPINCOUNT"]


@pytest.mark.parametrize(
    ("own", "number"),
    [("4", 4), ("4,2", 4), (" 3 ", 3), ("0", None), ("-1", None), ("many", None), ("", None), ("9" * 5000, None)],
)
def test_the_users_number_is_read_as_openmp_reads_it(environment, own, number):
    environment["OMP_NUM_THREADS"] = own
    assert threads.requested_threads() == number


def test_the_option_wins_over_the_variable_and_the_variable_over_the_cores(environment, monkeypatch):
    monkeypatch.setattr(threads, "usable_cores", lambda: 6)
    threads.set_thread_limits(None)
    assert threads.requested_threads() is None and environment["OPENBLAS_NUM_THREADS"] == "6"

    environment["OMP_NUM_THREADS"] = "3"
    threads.set_thread_limits(None)
    assert threads.requested_threads() == 3

    threads.set_thread_limits(2)
    assert (
        threads.requested_threads() == 2 and environment["OMP_NUM_THREADS"] == environment["RAYON_NUM_THREADS"] == "2"
    )


@pytest.mark.parametrize(("here", "share"), [("1", 6), ("2", 3), ("4", 1), ("8", 1)])
def test_processes_on_one_machine_share_its_cores(environment, monkeypatch, here, share):
    monkeypatch.setattr(threads, "usable_cores", lambda: 6)
    environment.update(RANK="0", WORLD_SIZE="8", LOCAL_WORLD_SIZE=here)
    assert threads.cores_per_process() == share


def put(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("cpuinfo", "looks"),
    [
        ("processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\n", "1000"),
        ("processor\t: 0\nvendor_id\t: GenuineIntel\n", "10000"),
        ("processor\t: 0\nCPU implementer\t: 0x41\n", "10000"),
        (None, "10000"),
    ],
)
def test_how_long_a_thread_looks_before_it_sleeps_depends_on_the_processor(tmp_path, cpuinfo, looks):
    put(tmp_path, {"proc/cpuinfo": cpuinfo} if cpuinfo else {})
    assert threads.openmp_wait_variables(tmp_path)["GOMP_SPINCOUNT"] == looks


TOP = "sys/fs/cgroup"
SELF = "proc/self/cgroup"
CASES = {
    "no control groups": ({}, 8),
    "no limit": ({SELF: "0::/a\n", f"{TOP}/a/cpu.max": "max 100000\n"}, 8),
    "version 2": ({SELF: "0::/a\n", f"{TOP}/a/cpu.max": "200000 100000\n"}, 2),
    "a part of a core": ({SELF: "0::/a\n", f"{TOP}/a/cpu.max": "50000 100000\n"}, 1),
    "one and a half": ({SELF: "0::/a\n", f"{TOP}/a/cpu.max": "150000 100000\n"}, 2),
    "more than the affinity": ({SELF: "0::/a\n", f"{TOP}/a/cpu.max": "6400000 100000\n"}, 8),
    "the group around it is smaller": (
        {
            SELF: "0::/a/b/c\n",
            f"{TOP}/a/cpu.max": "300000 100000\n",
            f"{TOP}/a/b/cpu.max": "max 100000\n",
            f"{TOP}/a/b/c/cpu.max": "700000 100000\n",
        },
        3,
    ),
    "a container's own view": ({SELF: "0::/\n", f"{TOP}/cpu.max": "400000 100000\n"}, 4),
    "the host's path in a container": ({SELF: "0::/docker/1f\n", f"{TOP}/cpu.max": "400000 100000\n"}, 4),
    "above its own view": ({SELF: "0::/../../x\n", f"{TOP}/x/cpu.max": "400000 100000\n"}, 4),
    "version 1": (
        {
            SELF: "5:memory:/a\n4:cpu,cpuacct:/a/b\n",
            f"{TOP}/cpu,cpuacct/a/b/cpu.cfs_quota_us": "-1\n",
            f"{TOP}/cpu,cpuacct/a/b/cpu.cfs_period_us": "100000\n",
            f"{TOP}/cpu,cpuacct/a/cpu.cfs_quota_us": "250000\n",
            f"{TOP}/cpu,cpuacct/a/cpu.cfs_period_us": "50000\n",
        },
        5,
    ),
    "both, the limit in version 1": (
        {
            SELF: "1:cpu:/\n0::/\n",
            f"{TOP}/cpu/cpu.cfs_quota_us": "200000\n",
            f"{TOP}/cpu/cpu.cfs_period_us": "100000\n",
        },
        2,
    ),
    "unreadable": ({SELF: "0::/a\n\nnonsense\n", f"{TOP}/a/cpu.max": "many 0\n"}, 8),
}


@pytest.mark.parametrize("case", CASES)
def test_the_cores_are_those_of_the_affinity_and_of_the_smallest_quota(case, tmp_path, monkeypatch):
    files, number = CASES[case]
    put(tmp_path, files)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert threads.usable_cores(tmp_path) == number


@pytest.mark.parametrize("command", ["train", "compare", "evaluate", "export", "predict"])
@pytest.mark.parametrize("number", ["0", "-1", "1.5", "100000"])
def test_a_number_that_cannot_be_is_bad_usage(rdrop, command, number):
    line = rdrop.error(command, "text", "--threads", number, code=2)
    assert "--threads" in line and line.count("error:") == 1
