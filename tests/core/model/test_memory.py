"""The most memory that was used, and giving back what no longer is."""

import platform
import sys
from types import SimpleNamespace

import psutil
import pytest
import torch

from conftest import run_python
from rdrop_cli.core.model.memory import peak_memory

CPU = torch.device("cpu")


def test_windows_says_how_much_memory_a_process_took_at_most(monkeypatch):
    """It has no `resource`; psutil asks it."""
    taken = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=1, peak_wset=5 * 2**30))
    monkeypatch.setattr(psutil, "Process", lambda: taken)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_memory(CPU) == 5 * 2**30


@pytest.mark.skipif(sys.platform == "win32", reason="asks the system in another way")
def test_the_peak_of_this_process_is_in_bytes():
    assert psutil.Process().memory_info().rss * 0.5 < peak_memory(CPU) < psutil.virtual_memory().total


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps no memory, or gives none back")
def test_memory_that_the_c_library_keeps_is_given_back():
    code = """if True:
    import psutil, torch
    from rdrop_cli.core.model.memory import give_back_memory
    def used():
        return psutil.Process().memory_info().rss / 2**20
    def many():
        return [torch.ones(2**18) for _ in range(200)]  # of 1 MiB each
    many()  # pieces of this size are now kept when they are freed
    model = many()
    last = torch.ones(2**18)  # above them, so that they cannot be cut off
    del model
    kept = used()
    give_back_memory()
    print(round(kept - used()))
    """
    assert int(run_python(code).stdout) > 150
