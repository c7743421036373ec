"""Makes the files of this folder from those of ../digits: digits 0 to 7 to learn from, and four kinds of images to ask about.

    python3 make.py

train    the training images of 0 to 7, with labels
known    the test images of 0 to 7, with labels
unseen   the test images of 8 and 9, which a fit of `train` has never seen
rotated  `known`, turned by a quarter to the left
noise    as many images whose pixels are drawn evenly from 0 to 16, from a fixed seed
"""

import pathlib
import random
import struct

HERE = pathlib.Path(__file__).parent


def read(name):
    """The rows of an idx file of bytes."""
    raw = (HERE.parent / "digits" / name).read_bytes()
    dims = struct.unpack_from(f">{raw[3]}I", raw, 4)
    row = len(raw[4 + 4 * len(dims) :]) // dims[0]
    start = 4 + 4 * len(dims)
    return [raw[start + i * row : start + (i + 1) * row] for i in range(dims[0])]


def write(name, rows, shape):
    dims = [len(rows), *shape]
    head = bytes([0, 0, 8, len(dims)]) + struct.pack(f">{len(dims)}I", *dims)
    (HERE / name).write_bytes(head + b"".join(rows))


def chosen(part, wanted):
    images, labels = read(f"{part}-images-idx3-ubyte"), read(f"{part}-labels-idx1-ubyte")
    pairs = [(image, label) for image, label in zip(images, labels) if label[0] in wanted]
    return [image for image, _ in pairs], [label for _, label in pairs]


def turned(image):
    """Row r, column c shows what stood in row c, column 7 - r."""
    return bytes(image[8 * c + 7 - r] for r in range(8) for c in range(8))


def main():
    for name, part in [("train", "train"), ("known", "test")]:
        images, labels = chosen(part, range(8))
        write(f"{name}-images.idx", images, [8, 8])
        write(f"{name}-labels.idx", labels, [])
    write("rotated-images.idx", [turned(image) for image in images], [8, 8])
    write("unseen-images.idx", chosen("test", [8, 9])[0], [8, 8])
    numbers = random.Random(1)
    noise = [bytes(int(17 * numbers.random()) for _ in range(64)) for _ in images]
    write("noise-images.idx", noise, [8, 8])


main()
