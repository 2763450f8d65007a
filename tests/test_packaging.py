"""The built wheel, used outside of the checkout: what is in it, and that it works on its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHIPPED = ("environments", "policies", "wealtharena")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def run(*command: str, cwd: Path, **env: str) -> str:
    """Runs Python; returns what it prints."""
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the sources, so that nothing is left in the checkout or taken from an older build."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in (*SHIPPED, "tests", "tune_configs"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(out), str(source), cwd=source)
    return next(out.glob("wealtharena-*.whl"))


def test_the_wheel_holds_every_module_and_nothing_else(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    shipped = {
        str(path.relative_to(ROOT))
        for package in SHIPPED
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == shipped


def test_the_wheel_holds_the_licence_and_the_readme(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = f"wealtharena-{PROJECT['project']['version']}.dist-info"
        assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        metadata = archive.read(f"{info}/METADATA").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "# WealthArena" in metadata


def test_the_quickstart_is_packed_as_a_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("wealtharena/quickstart.yaml") == (ROOT / "tune_configs/quickstart.yaml").read_bytes()


def test_the_installed_wheel_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel), cwd=tmp_path)
    code = """
import importlib, pathlib, sys
for name in ("environments", "policies", "wealtharena"):
    print(pathlib.Path(importlib.import_module(name).__file__).parent.parent)
from wealtharena.experiment import load_experiment
print(load_experiment("quickstart").spec.name)
"""
    found = run("-c", code, cwd=elsewhere, PYTHONPATH=str(site)).split()
    assert found == [str(site)] * 3 + ["quickstart"]
    told = run("-m", "wealtharena", "--version", cwd=elsewhere, PYTHONPATH=str(site))
    assert told.split() == ["wealtharena", PROJECT["project"]["version"]]


def test_every_dependency_is_pinned() -> None:
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    }
    project = PROJECT["project"]
    for wanted in (*project["dependencies"], *project["optional-dependencies"]["dev"]):
        name = wanted.split("[")[0].split(">")[0].split("=")[0].strip().lower()
        assert name in pinned, f"{name} is not in constraints.txt"
