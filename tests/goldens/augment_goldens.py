"""What timm and Pillow make of a small picture with each operation of RandAugment, and timm's mixup and cutmix."""

import itertools
import json

import numpy as np
import torch
from PIL import Image
from timm.data import auto_augment, mixup

MEAN_COLOUR = (124, 116, 104)
EITHER_WAY = {"Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"}
ENHANCEMENTS = {"Color", "Contrast", "Brightness", "Sharpness"}
INCREASING = ENHANCEMENTS | {"Posterize", "Solarize"}


def picture(width, height, seed):
    """Waves, edges and noise that leave room above and below."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for channel in range(3):
        wave = np.sin(x / (2 + channel) + seed) * np.cos(y / (4 - channel)) * 70 + 120
        wave[(x // 5 + y // 4 + channel) % 4 == 0] += 45 - 60 * channel
        planes.append(wave + random.normal(0, 9, wave.shape))
    return np.clip(np.stack(planes, -1), 7, 236).astype(np.uint8)


def operate(image, name, magnitude, increasing, opposite, interpolation):
    """One AugmentOp of timm's, its coin for the direction fixed."""
    auto_augment.random.random = lambda: 1.0 if opposite else 0.0
    variant = name + "Increasing" if increasing and name in INCREASING else name
    fill = MEAN_COLOUR if image.mode == "RGB" else MEAN_COLOUR[0]
    parameters = {"img_mean": fill, "interpolation": Image.Resampling[interpolation.upper()], "magnitude_max": 30}
    return auto_augment.AugmentOp(variant, prob=1.0, magnitude=magnitude, hparams=parameters)(image)


def choices(name):
    """magnitude, increasing, opposite, interpolation of the cases of one operation."""
    interpolations = ("bilinear", "bicubic") if name in EITHER_WAY else ("bicubic",)
    for increasing in (False, True) if name in INCREASING else (False,):
        signed = name in EITHER_WAY or (increasing and name in ENHANCEMENTS)
        magnitudes = (4.3, 9) if name in LEVELLED else (9,)
        yield from itertools.product(magnitudes, (increasing,), (False, True) if signed else (False,), interpolations)


LEVELLED = EITHER_WAY | INCREASING | {"SolarizeAdd"}


def augment_golden():
    coin = auto_augment.random.random
    inputs = {"colour": picture(19, 13, 1), "grey": picture(17, 11, 2)[..., :1], "square": picture(12, 12, 3),
              "few": picture(5, 4, 4), "one_colour": np.full((6, 6, 3), 77, np.uint8)}
    tests = [("colour", name, *choice) for name in auto_augment._RAND_TRANSFORMS for choice in choices(name)]
    tests += [("grey", name, *next(choices(name))) for name in auto_augment._RAND_TRANSFORMS]
    tests += [("few", name, 9, True, False, "bicubic") for name in ("AutoContrast", "Equalize", "Sharpness", "Rotate")]
    tests += [("one_colour", name, 9, True, False, "bicubic") for name in ("AutoContrast", "Equalize", "Contrast")]
    tests += [(image, "Rotate", 30, False, opposite, "bicubic") for image in ("square", "colour")
              for opposite in (False, True)]
    cases, tensors = [], {f"input.{name}": pixels for name, pixels in inputs.items()}
    for number, (image, name, magnitude, increasing, opposite, interpolation) in enumerate(tests):
        pixels = inputs[image]
        source = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
        result = np.asarray(operate(source, name, magnitude, increasing, opposite, interpolation))
        cases.append({"name": f"output.{number}", "input": image, "operation": name, "magnitude": magnitude,
                      "increasing": increasing, "opposite": opposite, "interpolation": interpolation})
        tensors[f"output.{number}"] = result.reshape(pixels.shape)
    auto_augment.random.random = coin
    metadata = {"kind": "augment", "fill": json.dumps(MEAN_COLOUR), "cases": json.dumps(cases)}
    return metadata, tensors


def mixing_golden():
    """Boxes of cutmix with their corrected λ, and soft targets with label smoothing."""
    boxes = []
    for height, width, share, y, x in ((32, 32, 0.5, 3, 30), (32, 32, 0.9, 16, 16), (24, 48, 0.11, 0, 47),
                                       (7, 5, 0.3, 6, 0), (224, 224, 0.999, 100, 9), (8, 8, 0.0, 4, 4)):
        centre = iter((y, x))
        mixup.np.random.randint, original = lambda low, high, size=None: next(centre), mixup.np.random.randint
        (top, bottom, left, right), corrected = mixup.cutmix_bbox_and_lam((3, height, width), share)
        mixup.np.random.randint = original
        boxes.append({"height": height, "width": width, "share": share, "y": y, "x": x, "top": int(top),
                      "bottom": int(bottom), "left": int(left), "right": int(right), "corrected": float(corrected)})
    labels, classes, share, smoothing = [0, 3, 1, 1, 2], 4, 0.3, 0.1
    targets = mixup.mixup_target(torch.tensor(labels), classes, share, smoothing)
    metadata = {"kind": "mixing", "boxes": json.dumps(boxes), "labels": json.dumps(labels), "classes": str(classes),
                "share": str(share), "smoothing": str(smoothing)}
    return metadata, {"targets": targets.double().numpy()}
