"""The processor by the kernel's words."""

import pytest

from rdrop_cli.core.doctor.machine import processor


@pytest.mark.parametrize(
    ("cpuinfo", "name", "features"),
    [
        ("model name\t: EPYC 9R14\nflags\t\t: fpu avx2 avx512_bf16\n", "EPYC 9R14", ["avx2", "avx512_bf16"]),
        ("model name\t: Intel(R) Xeon\nflags\t\t: amx_bf16 fpu\n\nflags\t\t: fpu\n", "Intel(R) Xeon", ["amx_bf16"]),
        ("Features\t: fp asimd bf16 sve\nCPU part\t: 0xd40\n", None, ["asimd", "sve", "bf16"]),
        (None, None, []),
    ],
)  # fmt: skip
def test_name_and_features(tmp_path, cpuinfo, name, features):
    if cpuinfo is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/cpuinfo").write_text(cpuinfo)
    (found,) = processor(tmp_path)
    assert found.value["features"] == features
    assert name is None or found.value["name"] == name
    assert found.value["name"] in found.text
