"""The numbers of the goldens, as core/base/random.h makes them: a golden need not store its weights and inputs.

Random(seed, path) starts at a state that is a hash of seed and path; draw i is mix64(state + (i + 1)·golden), so a
whole array is one vector expression. README.md says which path belongs to which array; golden_random.h is the same
in C++ and golden_random_test.cc holds the two together.
"""

import math

import numpy as np

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15

PARAMETERS, IMAGES, LABELS, TENSORS = 0, 1, 2, 3  # the first step of a path


def mix64(z):
    """splitmix64's output function, of an array of uint64 (wraps modulo 2^64)."""
    z = np.asarray(z, dtype=np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def start(seed, path):
    state = int(mix64((seed + GOLDEN) & MASK))
    for step in path:
        state = int(mix64(state ^ int(mix64((step + GOLDEN) & MASK))))
    return state


def draws(seed, path, count):
    index = np.arange(1, count + 1, dtype=np.uint64)
    return mix64(np.uint64(start(seed, path)) + index * np.uint64(GOLDEN))


def uniform(seed, path, shape, low, high):
    """Random(seed, path).uniform(low, high) once per element, in row-major order, rounded to float32."""
    unit = (draws(seed, path, math.prod(shape)) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return (low + (high - low) * unit).astype(np.float32).astype(np.float64).reshape(shape)


def below(seed, path, count, bound):
    """Random(seed, path).below(bound), count times (Lemire's method, redraws included)."""
    state, values = start(seed, path), []
    threshold = ((1 << 64) - bound) % bound
    while len(values) < count:
        state = (state + GOLDEN) & MASK
        product = int(mix64(state)) * bound
        if (product & MASK) >= threshold:
            values.append(product >> 64)
    return values


def parameter_range(name, shape):
    """What a parameter is drawn from: by its name and its shape alone."""
    if name in ("pos_embed", "cls_token"):
        return -0.2, 0.2
    if len(shape) >= 2:
        amplitude = 0.5 * math.sqrt(3.0 / math.prod(shape[1:]))
        return -amplitude, amplitude
    if name.endswith(".weight"):
        return 0.9, 1.1
    if name.endswith(".decay"):
        return -3.0, -1.0
    return -0.1, 0.1


def parameters(seed, shapes):
    """{name: array} for {name: shape}; a parameter's number is its place among the sorted names."""
    return {
        name: uniform(seed, (PARAMETERS, number), shapes[name], *parameter_range(name, shapes[name]))
        for number, name in enumerate(sorted(shapes))
    }


def images(seed, step, batch, height, width, channels):
    """[batch, height, width, channels], as if normalised already."""
    return uniform(seed, (IMAGES, step), (batch, height, width, channels), -1.5, 1.5)


def labels(seed, step, batch, classes):
    return below(seed, (LABELS, step), batch, classes)


def tensor(seed, number, shape):
    return uniform(seed, (TENSORS, number), shape, -1.0, 1.0)
