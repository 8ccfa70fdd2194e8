"""What format bytes have, by their content alone: file names and Content-Type are ignored."""

import re
from typing import Final

#: The formats that are kept, under Pillow's names for them.
SUPPORTED: Final = ("JPEG", "PNG", "WEBP", "GIF", "AVIF")

#: ISO media brands. `mif1` and `msf1` say only "image" and "sequence"; the compatible brands decide.
_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_HEIF_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1"})

_PICTURES: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "BigTIFF"),
    (b"MM\0+", "BigTIFF"),
    (b"BM", "BMP"),
    (b"\0\0\1\0", "ICO"),
    (b"\0\0\2\0", "CUR"),
    (b"8BPS", "PSD"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"qoif", "QOI"),
    (b"DDS ", "DDS"),
)
_OTHERS: Final = (
    (b"%PDF", "PDF"),
    (b"PK\3\4", "a zip archive"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed data"),
    (b"BZh", "bzip2-compressed data"),
    (b"Rar!", "a rar archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x1aE\xdf\xa3", "Matroska or WebM video"),
    (b"OggS", "Ogg media"),
    (b"ID3", "MP3 audio"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
)
_PNM: Final = re.compile(rb"P[1-7][\s#]")


def picture_format(data: bytes) -> str | None:  # noqa: PLR0911 - one return per way of telling
    """The image format that `data` begins with, one of SUPPORTED or another name; None if it is not an image."""
    for magic, name in _PICTURES:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        length = min(int.from_bytes(data[:4], "big"), 256)
        brands = {data[8:12], *(data[at : at + 4] for at in range(16, length, 4))}
        if brands & _AVIF_BRANDS:
            return "AVIF"
        if brands & _HEIF_BRANDS:
            return "HEIC"
        return None
    head = data[:4096]
    if _PNM.match(head):
        return "PNM"
    return "SVG" if _root_element(head) == b"svg" else None


def _root_element(head: bytes) -> bytes:
    """The name of XML's first element, past declaration, comments and doctype; empty if there is none in `head`."""
    rest = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    while rest.startswith((b"<?", b"<!")):
        end = b"-->" if rest.startswith(b"<!--") else b"?>" if rest.startswith(b"<?") else b">"
        if end == b">" and b"[" in rest.partition(b">")[0]:  # a doctype with declarations of its own
            end = b"]>"
        rest = rest.partition(end)[2].lstrip()
    name = re.match(rb"<(?:\w+:)?(\w+)", rest)
    return name[1].lower() if name else b""


def describe(data: bytes) -> str:  # noqa: PLR0911 - likewise
    """What `data` seems to be, for people, when it is not an image."""
    if not data:
        return "an empty body"
    for magic, name in _OTHERS:
        if data.startswith(magic):
            return name
    if data[4:8] == b"ftyp":
        return "MP4 or other ISO media"
    head = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()
    lowered = head.lower()
    if lowered.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<script")) or b"<html" in lowered:
        return "a web page"
    if head.startswith(b"<"):
        return "markup"
    if head.startswith((b"{", b"[")):
        return "JSON or the like"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return f"unknown data that begins with {data[:8].hex(' ')}"
    return "text" if b"\0" not in head else f"unknown data that begins with {data[:8].hex(' ')}"


def is_cut_short(data: bytes, name: str) -> bool:
    """Whether the container itself shows that its end is missing, whatever a decoder makes of the rest."""
    match name:
        case "WEBP":
            return len(data) < 8 + int.from_bytes(data[4:8], "little")
        case "AVIF":
            return _boxes_end_beyond(data)
        case "PNG":
            return _chunks_end_beyond(data)
        case _:
            return False


def _boxes_end_beyond(data: bytes) -> bool:
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size == 0:  # to the end of the file
            return False
        if size < 8:
            return False  # damaged rather than cut
        at += size
    return at != len(data)


def _chunks_end_beyond(data: bytes) -> bool:
    at = 8
    while at + 12 <= len(data):
        if data[at + 4 : at + 8] == b"IEND":
            return False
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return True
