"""Wheels made small for one kind of GPU: what is dropped, what is kept, and that pip still takes them."""

import base64
import csv
import hashlib
import io
import struct
import subprocess
import sys
import zipfile

import pytest

from benchmarks.gpu import slimwheel

PTX, CODE = 1, 2


def entry(kind, architecture, content):
    header = struct.pack("<HHIQ", kind, 1, 64, len(content)).ljust(28, b"\0") + struct.pack("<I", architecture)
    return header.ljust(64, b"\0") + content


def container(*parts):
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(b"".join(parts))) + b"".join(parts)


def test_only_code_for_the_gpu_stays_and_nothing_moves():
    wanted = entry(CODE, 90, b"kept" * 5)
    parts = [entry(PTX, 90, b"text" * 30), entry(CODE, 80, b"other" * 20), wanted, entry(CODE, 100, b"new")]
    before, after = b"\x7fELF before", b"after" * 3
    library = before + container(*parts) + after
    made = slimwheel.keep_architecture(library)
    assert len(made) == len(library) and made.startswith(before) and made.endswith(after)
    whole = sum(map(len, parts))
    expected = container(wanted) + bytes(whole - len(wanted))
    assert made[len(before) : -len(after)] == expected


def test_a_container_without_such_code_stays_whole():
    library = b"x" + container(entry(CODE, 80, b"other"), entry(PTX, 90, b"text")) + container(entry(CODE, 75, b"old"))
    assert slimwheel.keep_architecture(library) == library


def test_the_magic_number_by_chance_changes_nothing():
    library = b"a" + slimwheel.MAGIC + b"b" * 40 + slimwheel.MAGIC
    for more in (b"", b"c", b"c" * 40):
        assert slimwheel.keep_architecture(library + more) == library + more


def test_a_container_that_cannot_be_walked_is_an_error():
    broken = container(entry(CODE, 90, b"kept") + entry(7, 90, b"what"))
    with pytest.raises(ValueError, match="a container of CUDA code: expected an entry at"):
        slimwheel.keep_architecture(broken)


@pytest.fixture
def wheel(tmp_path):
    """A wheel of DALI's name with files to drop and to keep."""
    path = tmp_path / "from" / "nvidia_dali_cuda130-1.0-py3-none-any.whl"
    path.parent.mkdir()
    metadata = (
        "Metadata-Version: 2.1\nName: nvidia-dali-cuda130\nVersion: 1.0\n"
        "Requires-Dist: nvidia-libnvcomp-cu13 (==5)\nRequires-Dist: nvidia-nvimgcodec-cu13[all] (>=0.9)\n"
    )
    library = container(entry(CODE, 80, b"o" * 9), entry(CODE, 90, b""))
    files = {
        "nvidia/dali/fn.py": b"value = 7\n",
        "nvidia/dali/include/all.h": b"header",
        "nvidia/dali/backend.cpython-311-x86_64-linux-gnu.so": b"for another Python",
        "nvidia/dali/backend.cpython-312-x86_64-linux-gnu.so": library,
        "nvidia_dali_cuda130-1.0.dist-info/METADATA": metadata.encode(),
        "nvidia_dali_cuda130-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "nvidia_dali_cuda130-1.0.dist-info/RECORD": b"",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    (path.parent / "nvidia_nvtiff_cu13-1.0-py3-none-any.whl").write_bytes(path.read_bytes())
    (path.parent / "six-1.0-py3-none-any.whl").write_bytes(path.read_bytes())
    return path


@pytest.mark.parametrize(("mode", "dropped", "cut"), [("full", 0, False), ("slim", 2, False), ("sm90", 2, True)])
def test_a_wheel_has_fewer_files_and_a_record_of_them(wheel, tmp_path, mode, dropped, cut):
    slimwheel.main([str(wheel.parent), str(tmp_path / "to"), mode, "--present", "six"])
    made = sorted(path.name for path in (tmp_path / "to").iterdir())
    assert made == [wheel.name] + (["nvidia_nvtiff_cu13-1.0-py3-none-any.whl"] if mode == "full" else [])
    with zipfile.ZipFile(tmp_path / "to" / wheel.name) as archive, zipfile.ZipFile(wheel) as before:
        names = archive.namelist()
        assert len(names) == len(before.namelist()) - dropped
        assert all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())
        record = next(name for name in names if name.endswith("/RECORD"))
        for name, digest, size in csv.reader(io.StringIO(archive.read(record).decode())):
            content = archive.read(name)
            found = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert name == record or (digest, int(size)) == (f"sha256={found}", len(content))
        library = next(name for name in names if "cpython-312" in name)
        assert (archive.read(library) != before.read(library)) == cut
        metadata = archive.read(next(name for name in names if name.endswith("/METADATA"))).decode()
        assert ("libnvcomp" in metadata) == (mode == "full") and ("[nvjpeg]" in metadata) == (mode != "full")


def test_pip_installs_such_a_wheel(wheel, tmp_path):
    slimwheel.main([str(wheel.parent), str(tmp_path / "to"), "sm90"])
    arguments = ["--no-index", "--no-deps", "--disable-pip-version-check", "--target", tmp_path / "site"]
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", *arguments, tmp_path / "to" / wheel.name], check=True)
    assert (tmp_path / "site" / "nvidia" / "dali" / "fn.py").read_text() == "value = 7\n"
    assert not (tmp_path / "site" / "nvidia" / "dali" / "include").exists()
