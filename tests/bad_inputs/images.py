"""Images that are damaged, of an unusual kind, or named as what they are not."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.bad_inputs.kinds import DATA, DONE, infer
from tests.bad_inputs.samples import grey, phantom, png
from tests.support.phantoms import SIDE


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a PNG chunk."""
    check = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + check


@infer("bad.png")
def png_empty(folder: Path) -> None:
    """A PNG of zero bytes."""
    (folder / "bad.png").touch()


@infer("bad.png")
def png_cut_short(folder: Path) -> None:
    """A PNG cut in half."""
    (folder / "bad.png").write_bytes(png()[: len(png()) // 2])


@infer("bad.png")
def png_bad_checksum(folder: Path) -> None:
    """A PNG with changed pixel data, so that its checksum is wrong."""
    content = bytearray(png())
    content[len(content) // 2] ^= 0xFF
    (folder / "bad.png").write_bytes(content)


@infer("bad.jpg")
def jpeg_cut_short(folder: Path) -> None:
    """A JPEG cut in half."""
    Image.fromarray(grey()).save(folder / "bad.jpg")
    content = (folder / "bad.jpg").read_bytes()
    (folder / "bad.jpg").write_bytes(content[: len(content) // 2])


@infer("bad.png")
def text_named_png(folder: Path) -> None:
    """A text file named as PNG."""
    (folder / "bad.png").write_text("not an image\n")


@infer("bad.png")
def svg_named_png(folder: Path) -> None:
    """An SVG that refers to another file, named as PNG."""
    (folder / "bad.png").write_text('<svg><image href="file:///etc/hostname"/></svg>')


@infer("bad.png", DONE)
def jpeg_named_png(folder: Path) -> None:
    """A JPEG named as PNG: read by its content."""
    Image.fromarray(grey()).save(folder / "bad.png", format="JPEG")


@infer("bad.png", DONE)
def one_bit(folder: Path) -> None:
    """A PNG of 1 bit per pixel."""
    Image.fromarray(grey()).convert("1").save(folder / "bad.png")


@infer("bad.png", DONE)
def sixteen_bit(folder: Path) -> None:
    """A PNG of 16 bits per pixel."""
    Image.fromarray(grey().astype(np.uint16) * 257).save(folder / "bad.png")


@infer("bad.tif", DONE)
def float_in_hu(folder: Path) -> None:
    """A TIFF of floats, in HU."""
    Image.fromarray(phantom()[0].astype(np.float32)).save(folder / "bad.tif")


@infer("bad.jpg", DONE)
def cmyk(folder: Path) -> None:
    """A JPEG in CMYK."""
    Image.fromarray(grey()).convert("CMYK").save(folder / "bad.jpg")


@infer("bad.png", DONE)
def palette(folder: Path) -> None:
    """A PNG with a palette and a transparent colour."""
    image = Image.fromarray(grey()).convert("P")
    image.save(folder / "bad.png", transparency=0)


@infer("bad.png", DONE)
def alpha(folder: Path) -> None:
    """A PNG with alpha."""
    Image.fromarray(grey()).convert("RGBA").save(folder / "bad.png")


@infer("bad.png")
def animated(folder: Path) -> None:
    """An animated PNG of three frames."""
    frame = Image.fromarray(grey())
    frame.save(folder / "bad.png", save_all=True, append_images=[frame.rotate(5), frame.rotate(9)])


@infer("bad.tif")
def several_pages(folder: Path) -> None:
    """A TIFF of several pages."""
    frame = Image.fromarray(grey())
    frame.save(folder / "bad.tif", save_all=True, append_images=[frame.rotate(5)])


@infer("bad.jpg", DONE)
def exif_rotated(folder: Path) -> None:
    """A JPEG whose EXIF data rotate it by 90 degrees."""
    image = Image.fromarray(grey()[: SIDE // 2])
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(folder / "bad.jpg", exif=exif)


@infer("bad.png", DONE)
def one_pixel(folder: Path) -> None:
    """An image of 1 x 1 pixel."""
    Image.fromarray(grey()[:1, :1]).save(folder / "bad.png")


@infer("bad.png", DONE)
def long_and_thin(folder: Path) -> None:
    """An image of 3 x 20,000 pixels."""
    Image.fromarray(np.resize(grey(), (3, 20_000))).save(folder / "bad.png")


@infer("bad.png")
def decompression_bomb(folder: Path) -> None:
    """A PNG of 60,000 x 60,000 pixels, compressed to some kilobytes."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    data = zlib.compress(bytes(7_501 * 60_000), 9)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)


@infer("bad.png")
def text_bomb(folder: Path) -> None:
    """A PNG that contains a compressed text of 512 MB."""
    start = png()[:33]
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(512 << 20), 9))
    (folder / "bad.png").write_bytes(start + bomb + png()[33:])


@infer("bad.png")
def larger_than_memory(folder: Path) -> None:
    """A sparse file of 64 GB, which takes no space on the disk."""
    with (folder / "bad.png").open("wb") as stream:
        stream.write(png())
        stream.truncate(64 << 30)


@infer("bad.tif")
def nan_pixels(folder: Path) -> None:
    """A TIFF of floats with NaN."""
    values = phantom()[0].astype(np.float32)
    values[3, 5] = np.nan
    Image.fromarray(values).save(folder / "bad.tif")


@infer("bad.tif")
def infinite_pixels(folder: Path) -> None:
    """A TIFF of floats with infinity."""
    values = phantom()[0].astype(np.float32)
    values[3, 5] = np.inf
    Image.fromarray(values).save(folder / "bad.tif")


@infer("bad.tif")
def tiff_directory_loop(folder: Path) -> None:
    """A TIFF whose list of pages leads back to itself."""
    entry = struct.pack("<HHII", 256, 4, 1, 16)
    (folder / "bad.tif").write_bytes(b"II*\0" + struct.pack("<IH", 8, 1) + entry + b"\x08\0\0\0")


@infer("bad.bmp")
def bmp_huge_header(folder: Path) -> None:
    """A BMP whose header gives 2 billion pixels per side."""
    Image.fromarray(grey()).save(folder / "bad.bmp")
    content = bytearray((folder / "bad.bmp").read_bytes())
    content[18:26] = struct.pack("<ii", 2**31 - 1, 2**31 - 1)
    (folder / "bad.bmp").write_bytes(content)


@infer("bad.png", DONE)
def gif_named_png(folder: Path) -> None:
    """A GIF named as PNG: read by its content."""
    Image.fromarray(grey()).save(folder / "bad.png", format="GIF")


@infer("images", DATA)
def folder_named_png(folder: Path) -> None:
    """A folder that holds only a folder named as PNG."""
    (folder / "images" / "bad.png").mkdir(parents=True)
