"""The helper package of the workshop: the modules follow the question on its way to the answer."""

import os

# OpenMP threads spin while they wait for each other. On two cores, as soon as a browser or another notebook needs one,
# torch and llama.cpp then take many times as long. Read when their OpenMP library is loaded, so it is set here, first.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
