"""Zip and tar files as nobody should publish them."""

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

Entry = tuple[str, bytes]
ZIP_METHOD, ZIP_FLAGS = (8, 10), (6, 8)  # offsets, in a local and in a central header
LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"


def tar_bytes(*entries: Entry | tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar file; entries are names with contents, or headers without."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as file:
        for entry in entries:
            info = entry if isinstance(entry, tarfile.TarInfo) else tarfile.TarInfo(entry[0])
            if isinstance(entry, tarfile.TarInfo):
                file.addfile(info)
            else:
                info.size = len(entry[1])
                file.addfile(info, io.BytesIO(entry[1]))
    return stream.getvalue()


def tar_info(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def raw_member(name: bytes, size: int, kind: bytes = b"0", content: bytes = b"") -> bytes:
    """A member of any size, as its header says; negative ones are in base 256."""
    number = f"{size:011o}\0".encode() if 0 <= size < 8**11 else size.to_bytes(12, signed=True)
    if size >= 8**11:
        number = b"\x80" + size.to_bytes(11)
    head = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + number + b"00000000000\0"
    head += b" " * 8 + kind + bytes(100) + b"ustar\x0000" + bytes(247)
    head = head[:148] + f"{sum(head):06o}\0 ".encode() + head[156:]
    return head + content.ljust(-(-len(content) // 512) * 512, b"\0")


def pax(**facts: str) -> bytes:
    """An extended header for the next member."""
    records = b""
    for name, value in facts.items():
        line = f" {name}={value}\n".encode()
        length = len(line) + len(str(len(line)))
        length = len(line) + len(str(length))
        records += str(length).encode() + line
    return raw_member(b"x", len(records), b"x", records)


END = bytes(1024)


def zip_bytes(entries: Iterable[Entry], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as file:
        for name, content in entries:
            file.writestr(zipfile.ZipInfo(name), content, method)
    return stream.getvalue()


def patched(content: bytes, offsets: tuple[int, int], value: int, width: str = "<H") -> bytes:
    """A zip file with another value in the headers of all members."""
    changed = bytearray(content)
    for signature, offset in zip((LOCAL, CENTRAL), offsets, strict=True):
        at = -1
        while (at := content.find(signature, at + 1)) >= 0:
            struct.pack_into(width, changed, at + offset, value)
    return bytes(changed)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


PACKINGS: dict[str, Callable[[bytes], bytes]] = {"tar": bytes, "gz": gzip.compress}
