"""JupyterLab as the workshop opens it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

START = "/lab/tree/notebooks/00_start_here.ipynb"
# JupyterLab would greet a learner with a question about news, and look for updates on the network
SETTINGS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


def command(root: Path, port: int, browser: bool) -> list[str]:
    """What to run: JupyterLab of this environment, in the project's folder, at the first lesson."""
    words = [
        *(sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={root}", f"--port={port}"),
        f"--LabApp.default_url={START}",
    ]
    if not browser:
        words.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        words.append("--allow-root")  # containers often have no other user
    return words


def settle(prefix: Path = Path(sys.prefix)) -> None:
    """Write our settings into the environment, unless somebody has written some already."""
    path = prefix / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            json.dump(SETTINGS, file, indent=1)
