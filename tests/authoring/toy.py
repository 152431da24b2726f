"""A toy project with one lesson, small enough to read whole."""

from pathlib import Path

LESSON = '''\
# ---
# workshop:
#   title: Toy
#   question: What is a mean?
#   ends_with: a mean
#   claims: [R0, R+1]
#   minutes: 5
#   outcomes:
#     - take a mean
#   prerequisites: [some Python]
# ---

# %% [markdown]
# ## One
#
# It answers {{results/toy.json:rag.value|.0%}} of {{results/toy.json:rag.n}}.

# %%
import math
import numpy as np
from pathlib import Path as P, PurePath

SCALE = 2

# %% [markdown] tags=["instructor"]
# Ask the room what a mean is.


# %% tags=["exercise"]
def mean(values: np.ndarray) -> float:
    """The mean of values, (n,)."""
    values = np.asarray(values)
    # BEGIN SOLUTION
    total = math.fsum(values)  # exact
    return total / len(values)
    # END SOLUTION


# %% tags=["check"]
mean = check(mean)

# %%
print("same")

# %%
print("same")


# %% tags=["exercise", "extra"]
class Centred:
    """Values less their mean."""

    def __init__(self, values: np.ndarray) -> None:
        # BEGIN SOLUTION
        self.offset = mean(values)
        # END SOLUTION

    def of(self, value: float) -> float:
        """One value, centred."""
        # BEGIN SOLUTION
        return value - self.offset
        # END SOLUTION


# %% tags=["check"]
Centred = check(Centred)
'''


class Toy:
    """The toy project: its root, its lesson, and a way to change it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.text = LESSON
        self.path = root / "lessons" / "99_toy.py"
        self.write("pyproject.toml", '[tool.workshop]\nrepository = ""\n')
        self.write("data/results/toy.json", '{"rag": {"value": 0.314, "n": 96, "list": [{"x": 1}]}}')
        self.write("README.md", "# Toy\n\n<!-- BEGIN GENERATED: lessons -->\n<!-- END GENERATED -->\n\nEnd\n")
        self.edit()

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(text.encode())

    def edit(self, *changes: tuple[str, str]) -> None:
        """Write the lesson with each change made once; a change that does not apply is a mistake of the test."""
        text = self.text
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new, 1)
        self.write("lessons/99_toy.py", text)

    def line(self, text: str) -> int:
        """The line of the lesson, as it now is, in which `text` first stands."""
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return next(n for n, line in enumerate(lines, start=1) if text in line)
