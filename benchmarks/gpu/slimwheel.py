"""DALI's wheels made small: without what decoding JPEG, PNG and BMP never loads, nor machine code of other GPUs.

    python3 slimwheel.py FROM TO full|slim|sm90 [--present NAME ...]

Files are stored, not compressed, so that one pass of xz over all wheels sees what they share. `slim` drops files and
whole wheels; `sm90` also keeps of CUDA's machine code what runs on H100 and H200 only, as nvprune does for objects: for
measuring there, never to be published. Needs the standard library alone.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import io
import os
import re
import struct
import zipfile
from pathlib import Path

MODES = ("full", "slim", "sm90")
PYTHON_TAG = "312"
# beginnings of wheels' names; loaded for inflate, JPEG 2000 and TIFF only
UNUSED_WHEELS = ("nvidia_libnvcomp", "nvidia_nvjpeg2k", "nvidia_nvtiff")
UNUSED_FILES = {  # beginning of a wheel's name -> files of it
    "nvidia_dali": rf"\.cpython-(?!{PYTHON_TAG}-)\d+t?-x86_64-linux-gnu\.so$|^nvidia/dali/include/|\.pyi$"
    r"|^nvidia/dali/plugin/(jax|paddle|tf|triton)",
    "nvidia_nvimgcodec": r"^nvidia/nvimgcodec/(nvimgcodec_impl\.|include/|tools/)"
    r"|lib(nvjpeg2k|nvtiff|tiff|nvpnm)_ext",
    "nvidia_nvjpeg-": r"/include/",
}
REQUIREMENTS = (  # of DALI, those that name wheels left out, and what stands there instead
    (r"(?m)^Requires-Dist: nvidia-libnvcomp.*\n", ""),
    (r"nvimgcodec-cu13\[all\]", "nvimgcodec-cu13[nvjpeg]"),
)

ARCHITECTURE = 90  # of the machine code that is kept
# A container of CUDA's machine code ("fatbin"): magic, version, size of this header, size of the entries after it.
CONTAINER, MAGIC = struct.Struct("<IHHQ"), b"\x50\xed\x55\xba"
# An entry: kind (1 PTX, 2 machine code), size of this header and of what follows it; the architecture stands at 28.
ENTRY, ENTRY_ARCHITECTURE, MACHINE_CODE = struct.Struct("<HxxIQ"), 28, 2


def keep_architecture(library: bytes) -> bytes:
    """Cuts each container of the library down, in place, to its code for ARCHITECTURE; zeros fill the rest.

    Nothing moves in the file, and zeros cost nothing once compressed. A container without such code stays whole.
    Raises ValueError for one that can't be walked to its very end.
    """
    kept, place = bytearray(library), 0
    while 0 <= (place := library.find(MAGIC, place)) <= len(library) - CONTAINER.size:
        _, version, header, size = CONTAINER.unpack_from(library, place)
        begin, end = place + header, place + header + size
        if (version, header) != (1, CONTAINER.size) or end > len(library):
            place += len(MAGIC)  # the magic number by chance
            continue
        parts = entries(library, begin, end)
        wanted = b"".join(content for kind, content in parts if kind == (MACHINE_CODE, ARCHITECTURE))
        if wanted:
            CONTAINER.pack_into(kept, place, *CONTAINER.unpack_from(library, place)[:3], len(wanted))
            kept[begin:end] = wanted.ljust(size, b"\0")
        place = end
    return bytes(kept)


def entries(library: bytes, place: int, end: int) -> list[tuple[tuple[int, int], bytes]]:
    """Yields ((kind, architecture), the entry with its header) of each entry of a container."""
    found = []
    while place < end:
        kind, header, size = ENTRY.unpack_from(library, place)
        (architecture,) = struct.unpack_from("<I", library, place + ENTRY_ARCHITECTURE)
        if kind not in (1, MACHINE_CODE) or header < 64 or place + header + size > end:
            raise ValueError(f"a container of CUDA code: expected an entry at {place}; found kind {kind}, size {size}")
        found.append(((kind, architecture), library[place : place + header + size]))
        place += header + size
    return found


def changed(wheel: str, name: str, content: bytes, mode: str) -> bytes | None:
    """Returns a file of a wheel as it is packed; None: left out."""
    if mode == "full":
        return content
    if any(wheel.startswith(start) and re.search(files, name) for start, files in UNUSED_FILES.items()):
        return None
    if wheel.startswith("nvidia_dali") and name.endswith(".dist-info/METADATA"):
        text = content.decode()
        for pattern, instead in REQUIREMENTS:
            text = re.sub(pattern, instead, text)
        return text.encode()
    is_library = wheel.startswith("nvidia") and re.search(r"\.so(\.|$)", name)
    return keep_architecture(content) if mode == "sm90" and is_library else content


def record_line(name: str, content: bytes) -> tuple[str, str, int]:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return name, f"sha256={digest}", len(content)


def rewrite(source: Path, target: Path, mode: str) -> None:
    """Writes a wheel with fewer files, stored; its RECORD lists them, so that pip takes it for any other."""
    lines = []
    with zipfile.ZipFile(source) as wheel, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as made:
        (record,) = (name for name in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/RECORD", name))
        members = [member for member in wheel.infolist() if member.filename != record and not member.is_dir()]
        for member in sorted(members, key=lambda one: (os.path.splitext(one.filename)[1], one.filename)):
            content = changed(source.name, member.filename, wheel.read(member), mode)
            if content is not None:
                store(made, member.filename, content, member.external_attr)
                lines.append(record_line(member.filename, content))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([*lines, (record, "", "")])
        store(made, record, text.getvalue().encode())
    print(f"{source.name}: {source.stat().st_size / 2**20:.1f} MiB compressed, {len(lines)} files kept", flush=True)


def store(archive: zipfile.ZipFile, name: str, content: bytes, attributes: int = 0) -> None:
    member = zipfile.ZipInfo(name)  # of 1980, so that the same wheels make the same bytes
    member.external_attr = attributes
    archive.writestr(member, content)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, metavar="FROM")
    parser.add_argument("target", type=Path, metavar="TO")
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--present", nargs="*", default=[], metavar="NAME", help="wheels that the machine has")
    options = parser.parse_args(argv)
    options.target.mkdir(parents=True, exist_ok=True)
    left_out = tuple(f"{name.lower().replace('-', '_')}-" for name in options.present)
    left_out += UNUSED_WHEELS if options.mode != "full" else ()
    for wheel in sorted(options.source.glob("*.whl")):
        if wheel.name.lower().startswith(left_out):
            print(f"{wheel.name}: left out")
        else:
            rewrite(wheel, options.target / wheel.name, options.mode)


if __name__ == "__main__":
    main()
