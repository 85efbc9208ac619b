"""What is told of the machine and the code beside figures."""

from __future__ import annotations

import subprocess
from pathlib import Path

from jc1_lab.environment import machine, revision, versions


def test_the_revision_is_the_checkout_s_and_a_plus_says_that_files_differ() -> None:
    git = ["git", "-C", str(Path(__file__).parents[2])]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    assert revision().removesuffix("+") == head


def test_only_installed_packages_have_a_version() -> None:
    assert versions(["numpy", "no-such-package"]).keys() == {"numpy"}


def test_the_machine_is_told_in_plain_values() -> None:
    told = machine()
    assert told["cores"] >= 1
    assert told["cpu"]
    assert told["python"].startswith("3.")
