"""One writer for each folder, and none that is dead."""

import os
import signal
import subprocess
import sys

import pytest

from rdrop_cli.core.storage.lock import only_writer, refuse_if_in_use
from rdrop_cli.errors import CheckpointError

HOLD = """
import sys, time
from pathlib import Path
from rdrop_cli.core.storage.lock import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_writer_is_refused_at_once(holder, tmp_path):
    for ask in (lambda: only_writer(tmp_path).__enter__(), lambda: refuse_if_in_use(tmp_path)):
        with pytest.raises(CheckpointError, match="another training is writing to this folder"):
            ask()


def test_a_killed_writer_holds_nothing(holder, tmp_path):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    refuse_if_in_use(tmp_path)
    with only_writer(tmp_path):
        pass


def test_a_folder_without_a_lock_stays_without_one(tmp_path):
    refuse_if_in_use(tmp_path)
    assert list(tmp_path.iterdir()) == []
