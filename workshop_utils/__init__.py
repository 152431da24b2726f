"""The helper package of the workshop: the modules follow the question on its way to the answer."""

import os

# OpenMP threads spin while they wait for each other. On two cores, as soon as a browser or another notebook needs one,
# torch and llama.cpp then take many times as long. Read when their OpenMP library is loaded, so it is set here, first.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# oneDNN keeps what it has compiled for each shape of a matrix product, up to 1,024 of them. Batches come in many
# shapes, and a lesson must fit into a small machine: fewer are kept.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")
