"""What rdrop's own metadata asks for."""

import pytest

from rdrop_cli.core.doctor import software

METADATA = {
    "Requires-Python": [">=3.11"],
    "Requires-Dist": [
        "numpy>=1.26",
        "absent<2,>=1",
        'winonly>=1; sys_platform == "none-such"',
        'pytest>=1; extra == "dev"',
        'absent>=1; extra == "plots"',
        'numpy>=1; sys_platform != "none-such" and extra == "onnx"',
        'winonly>=1; sys_platform == "none-such" and extra == "elsewhere"',
    ],
    "Provides-Extra": ["dev", "plots", "onnx", "elsewhere"],
}


@pytest.fixture
def of_package(monkeypatch):
    """Makes rdrop's metadata say something else."""
    return lambda fields: monkeypatch.setattr(software, "_metadata", lambda field: fields.get(field, []))


def test_requirements_are_those_of_this_platform_without_extras(of_package):
    of_package(METADATA)
    found = {finding.name: finding for finding in software.packages()}
    assert set(found) == {"numpy", "absent"}
    assert found["numpy"].problem is None
    assert found["absent"].text == "not installed (needs >=1,<2)" and found["absent"].prevents_training


def test_extras_are_there_or_say_how_to_install_them(of_package):
    of_package(METADATA)
    plots, onnx, elsewhere = software.extras()
    assert (plots.name, plots.text) == ("plots", "not installed: pip install 'rdrop-cli[plots]'")
    assert (onnx.name, onnx.text.split()[0], onnx.value) == ("onnx", "numpy", {"numpy": software.version_of("numpy")})
    assert elsewhere.text == "not available on this system"


def test_a_python_that_is_not_supported(of_package):
    of_package({"Requires-Python": [">=4.0"]})
    _, python = software.rdrop()
    assert "is not supported: use one that is >=4.0" in python.problem


def test_a_checkout_that_is_not_installed_says_so(of_package):
    of_package({})
    (first,) = software.packages()
    assert "not installed as a package" in first.text and first.problem is None
    assert list(software.extras()) == []
