#!/usr/bin/env python3
"""Writes the odd little images of this folder and what Pillow and torchvision make of them.

    python3 -m venv venv && venv/bin/pip install pillow torchvision numpy
    venv/bin/python tests/data/images/make_parity_goldens.py

goldens.json lists, for each image, its outputs; their values lie one after the other in goldens.bin:
8-bit pixels [height, width, 3] or normalised f32 [height, width, channels].
"""

import io
import json
import math
import pathlib
import struct
import zlib

import numpy as np
import PIL
import torchvision
from PIL import Image, ImageOps
from torchvision.transforms import functional as F
from torchvision.transforms import InterpolationMode

FOLDER = pathlib.Path(__file__).parent
INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def picture(width, height, seed):
    """Smooth shapes, hard edges and noise, so that every filter and every rounding has something to do."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for channel in range(3):
        wave = np.sin(x / (3 + 2 * channel) + seed) * np.cos(y / (5 - channel)) * 90 + 127
        wave[(x // 7 + y // 5 + channel) % 4 == 0] = 255 if channel % 2 else 0
        planes.append(wave + random.normal(0, 12, wave.shape))
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(pixels, depth, colour_type, interlaced=False, extra=b""):
    """A PNG of a kind that Pillow does not write. pixels [height, width, channels] of `depth` 8 or 16 bits."""
    height, width, _ = pixels.shape
    pixels = pixels.astype(">u2" if depth == 16 else np.uint8)
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = b""
    for top, left, step_y, step_x in passes:
        part = pixels[top::step_y, left::step_x]
        if part.size:
            rows += b"".join(b"\0" + row.tobytes() for row in part)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows, 9))
            + chunk(b"IEND", b""))


def saved(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def exif(orientation):
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def make_inputs():
    rgb = lambda width, height, seed: Image.fromarray(picture(width, height, seed))
    alpha = Image.fromarray(picture(61, 39, 20)[..., 0])
    with_alpha = rgb(61, 39, 4)
    with_alpha.putalpha(alpha)
    grey_alpha = rgb(61, 39, 5).convert("L")
    grey_alpha.putalpha(alpha)
    wide = picture(43, 37, 6).astype(np.uint16) * 257
    wide = wide ^ np.random.default_rng(6).integers(0, 256, wide.shape, dtype=np.uint16)
    return {
        "rgb_420.jpg": saved(rgb(83, 61, 1), format="JPEG", quality=85),
        "grey.jpg": saved(rgb(57, 70, 2).convert("L"), format="JPEG", quality=80),
        "cmyk.jpg": saved(rgb(50, 41, 3).convert("CMYK"), format="JPEG", quality=90),
        "progressive_444_turned_6.jpg": saved(rgb(71, 45, 7), format="JPEG", quality=90, subsampling=0,
                                              progressive=True, exif=exif(6)),
        "turned_5.jpg": saved(rgb(40, 66, 8), format="JPEG", quality=75, exif=exif(5)),
        "rgba.png": saved(with_alpha, format="PNG"),
        "grey_alpha.png": saved(grey_alpha, format="PNG"),
        "palette_transparent.png": saved(rgb(48, 36, 9).quantize(13), format="PNG", transparency=3, optimize=True),
        "one_bit.png": saved(rgb(75, 33, 10).convert("1"), format="PNG"),
        "rgb16.png": png(wide, 16, 2),
        "interlaced_turned_8.png": png(picture(45, 38, 11), 8, 2, interlaced=True,
                                       extra=chunk(b"eXIf", exif(8)[6:])),
        "tall.png": saved(rgb(9, 120, 12), format="PNG"),
        "tiny.png": saved(rgb(3, 2, 13), format="PNG"),
        "rgb.bmp": saved(rgb(37, 29, 14), format="BMP"),
        "lzw.tif": saved(rgb(41, 27, 15), format="TIFF", compression="tiff_lzw"),
        "lossless.webp": saved(rgb(44, 52, 16), format="WEBP", lossless=True),
    }


class Goldens:
    def __init__(self):
        self.bytes = b""
        self.images = []

    def add(self, outputs, kind, array, **parameters):
        array = np.ascontiguousarray(array)
        outputs.append({"kind": kind, "offset": len(self.bytes), "height": array.shape[0], "width": array.shape[1],
                        **parameters})
        self.bytes += array.tobytes()


def main():
    goldens = Goldens()
    for number, (name, data) in enumerate(make_inputs().items()):
        (FOLDER / name).write_bytes(data)
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        width, height = image.size
        outputs = []
        goldens.add(outputs, "decode", np.asarray(image))

        for interpolation, filter_ in INTERPOLATIONS.items():
            for size in [(max(1, width * 2 // 5), max(1, height // 3)), (width + 5, max(1, height // 2))]:
                goldens.add(outputs, "resize", np.asarray(image.resize(size, filter_)), interpolation=interpolation)
            box = (width * 0.1, height * 0.21, width * 0.83, height * 0.9)
            box = tuple(float(np.float32(edge)) for edge in box)
            goldens.add(outputs, "resize_box", np.asarray(image.resize((17, 13), filter_, box=box)),
                        interpolation=interpolation, box=box)
            crop = (height // 5, width // 4, max(1, height // 2), max(1, width * 2 // 3))
            result = F.resized_crop(image, *crop, [14, 18], InterpolationMode(interpolation))
            goldens.add(outputs, "resized_crop", np.asarray(result), interpolation=interpolation,
                        top=crop[0], left=crop[1], crop_height=crop[2], crop_width=crop[3])

        for interpolation, fraction in [("bicubic", 0.875), ("bilinear", 1.0)]:
            side = 15 + number % 4
            result = F.resize(image, math.floor(side / fraction), InterpolationMode(interpolation))
            result = F.normalize(F.to_tensor(F.center_crop(result, side)), MEAN, DEVIATION)
            goldens.add(outputs, "preprocess", result.permute(1, 2, 0).numpy(), interpolation=interpolation,
                        crop_fraction=fraction)

        if number in (0, 3):
            changes = {"brightness": F.adjust_brightness, "contrast": F.adjust_contrast,
                       "saturation": F.adjust_saturation, "hue": F.adjust_hue}
            small = image.crop((0, 0, 31, 23))
            for change, function in changes.items():
                for factor in [-0.31, 0.17] if change == "hue" else [0.37, 1.62]:
                    goldens.add(outputs, change, np.asarray(function(small, factor)), factor=factor)
        goldens.images.append({"file": name, "outputs": outputs})

    (FOLDER / "goldens.bin").write_bytes(goldens.bytes)
    index = {"pillow": PIL.__version__, "torchvision": torchvision.__version__, "mean": MEAN,
             "deviation": DEVIATION, "images": goldens.images}
    (FOLDER / "goldens.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main()
