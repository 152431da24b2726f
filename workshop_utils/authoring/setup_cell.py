"""The set-up cell, the second of every notebook: the one place where it is written."""

TITLE = "# @title Set-up: run this cell first"

CELL = """\
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
if os.environ.get("WORKSHOP_TEST") == "1":  # compared outputs hold no progress bars
    os.environ.update(TQDM_DISABLE="1", HF_HUB_DISABLE_PROGRESS_BARS="1")
    if find_spec("tqdm"):
        import tqdm.auto

        tqdm.auto.tqdm = tqdm.std.tqdm  # the bar for notebooks does not look at TQDM_DISABLE

if not find_spec("workshop_utils"):
    repository = "{repository}"
    if not (find_spec("google") and find_spec("google.colab")):
        raise SystemExit(
            "This kernel is not the workshop's. In a terminal, in the workshop's folder, type\\n"
            "    python3 workshop.py lab        (Windows: py workshop.py lab)\\n"
            "and open this notebook in the page that appears."
        )
    folder = next((found.parent for found in sorted(Path.cwd().glob("*/workshop.py"))), None)
    if folder is None and not repository:
        raise SystemExit(
            "Upload the workshop's folder as workshop.zip (Files, on the left), run\\n"
            "    !unzip -q workshop.zip\\n"
            "in a new cell, then run this cell again."
        )
    if folder is None:
        folder = Path.cwd() / repository.rpartition("/")[2]
        subprocess.run(["git", "clone", "--depth", "1", repository, str(folder)], check=True)
    subprocess.run([sys.executable, "workshop.py", "setup", "--here"], cwd=folder, check=True)
    sys.path.insert(0, str(folder))
    os.chdir(folder / "notebooks")
"""


def source(repository: str) -> str:
    """Silent and instant where `workshop_utils` is installed; sets Colab up; anywhere else says what to type."""
    return f"{TITLE}\n{CELL.replace('{repository}', repository)}".rstrip()
