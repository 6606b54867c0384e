"""Archives as sources: each member once, with its package's licence; hostile ones do no harm."""

import bz2
import copy
import gzip
import io
import lzma
import os
import tarfile
import time
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from builders import sources
from builders.recipe import Source
from builders.sources import archives, bounds, xz
from builders.sources.files import MAX_FILE_BYTES
from tests.sources.test_sources import all_files

METADATA = (
    b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nClassifier: License :: OSI Approved :: MIT License\n\nText.\n"
)


def zipped(path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def tarred(path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, f"w:{path.suffix[1:].replace('tgz', 'gz').replace('tar', '')}") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def archive_source(path, **settings) -> Source:
    return Source(name="old", kind="archive", path=str(path), **settings)


def test_a_wheel_and_an_sdist_bring_their_name_and_licence(tmp_path):
    zipped(tmp_path / "demo-1.0-py3-none-any.whl", {"demo/a.py": b"x = 1\n", "demo-1.0.dist-info/METADATA": METADATA})
    tarred(tmp_path / "demo-1.0.tar.gz", {"demo-1.0/a.py": b"x = 2\n", "demo-1.0/PKG-INFO": METADATA})
    tarred(tmp_path / "plain.tar.xz", {"a.py": b"x = 3\n", "b.txt": b"no"})
    found = all_files(archive_source(tmp_path, license="BSD-3-Clause"))
    assert [(f.path, f.text, f.repo, f.license) for f in found] == [
        ("demo-1.0-py3-none-any.whl/demo/a.py", "x = 1\n", "demo==1.0", "MIT"),
        ("demo-1.0.tar.gz/demo-1.0/a.py", "x = 2\n", "demo==1.0", "MIT"),
        ("plain.tar.xz/a.py", "x = 3\n", None, "BSD-3-Clause"),
    ]


@pytest.mark.parametrize("pack, suffix", [(zipped, ".zip"), (tarred, ".tar"), (tarred, ".tgz"), (tarred, ".tar.bz2")])
@pytest.mark.parametrize("limit", [None, 3])
def test_members_of_an_archive_are_given_out_once(tmp_path, pack, suffix, limit):
    members = {f"lib/{n}.py": f"x = {n}\n".encode() for n in range(5)} | {"test/x.py": b"", "lib/a.txt": b""}
    path = pack(tmp_path / f"code{suffix}", members)
    found = all_files(archive_source(path, exclude=("test/",), files_per_shard=2, max_files=limit))
    assert [(f.path, f.text) for f in found] == [(f"lib/{n}.py", f"x = {n}\n") for n in range(5)][:limit]


def test_hostile_members_of_a_tar_are_text_and_nothing_is_followed(tmp_path):
    path = tmp_path / "bad.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, kind in (("link.py", tarfile.SYMTYPE), ("hard.py", tarfile.LNKTYPE), ("pipe.py", tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        for name, data in (
            ("../../up.py", b"x = 1\n"),
            ("/root.py", b"x = 2\n"),
            ("huge.py", b"#" * (MAX_FILE_BYTES + 1)),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    before = sorted(tmp_path.rglob("*"))
    found = all_files(archive_source(path))
    assert [(f.path, f.error) for f in found] == [("../../up.py", None), ("/root.py", None), ("huge.py", "too_large")]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_zip_that_lies_about_sizes_or_unpacks_to_too_much_is_bounded(tmp_path, monkeypatch):
    path = zipped(
        tmp_path / "bomb.zip", {f"{n}.py": b"#" * 10_000 for n in range(5)} | {"big.py": b"#" * (MAX_FILE_BYTES + 1)}
    )
    assert {f.path: f.error for f in all_files(archive_source(path))}["big.py"] == "too_large"
    monkeypatch.setattr(bounds, "FREE_BYTES", 25_000)
    errors = [f.error for f in all_files(archive_source(path, files_per_shard=2, exclude=("big",), max_ratio=1))]
    assert errors == [None, None, "too_much", "too_much", "too_much"]


def test_a_tar_that_unpacks_to_too_much_ends_in_a_reject(tmp_path, monkeypatch):
    path = tarred(tmp_path / "bomb.tar.gz", {"a.py": b"x = 1\n", "zeros.bin": b"\0" * 200_000, "b.py": b"x = 2\n"})
    monkeypatch.setattr(bounds, "FREE_BYTES", 100_000)
    found = all_files(archive_source(path))
    assert [(f.path, f.error) for f in found] == [("a.py", None), ("bomb.tar.gz", "too_much")]
    assert [f.path for f in all_files(archive_source(path, max_ratio=1000))] == ["a.py", "b.py"]


@pytest.mark.parametrize("name", ["code.zip", "code.tar.gz", "code.whl", "code.tar"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_damaged_archive_is_counted_and_the_others_are_read(tmp_path, name, share):
    pack = zipped if name.endswith(("zip", "whl")) else tarred
    rest = {f"{n}.txt": os.urandom(4000) for n in range(3)}
    whole = pack(tmp_path / name, rest | {"a.py": b"x = 1\n"}).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
    zipped(tmp_path / "other.zip", {"b.py": b"x = 2\n"})
    found = {f.path: f.error for f in all_files(archive_source(tmp_path))}
    assert found == {name: "broken_archive", "other.zip/b.py": None}


def test_an_encrypted_member_is_unreadable(tmp_path):
    path = zipped(tmp_path / "code.zip", {"a.py": b"x = 1\n", "b.py": b"x = 2\n"})
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    path.write_bytes(data)
    assert [f.error for f in all_files(archive_source(path))] == ["unreadable", None]


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "code.rar").write_bytes(b"Rar!")
    with pytest.raises(ValueError, match=r"source 'old': .*code\.rar is not an archive that can be read.*\.zip"):
        sources.listing(archive_source(tmp_path / "code.rar"))


def test_a_header_of_a_tar_cannot_fill_the_memory(tmp_path):
    path = tmp_path / "bomb.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, attributes in (("a.py", {}), ("b.py", {"comment": "x" * 2_000_000}), ("c.py", {})):
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = 2, attributes
            archive.addfile(info, io.BytesIO(b"1\n"))
    assert [(f.path, f.error) for f in all_files(archive_source(path))] == [
        ("a.py", None),
        ("bomb.tar", "broken_archive"),
    ]


def test_a_bomb_of_kilobytes_ends_at_the_first_100_mb_in_bounded_memory(tmp_path):
    """A tar of 3 GB of zeros in 2 KB of bz2, and in xz."""
    for name, opened in (("bomb.tar.bz2", bz2.open), ("bomb.tar.xz", lzma.open)):
        info = tarfile.TarInfo("zeros.bin")
        info.size = 300_000_000
        with opened(tmp_path / name, "wb") as file:
            file.write(info.tobuf())
            for _ in range(300):
                file.write(bytes(1_000_000))
        assert [(f.path, f.error) for f in all_files(archive_source(tmp_path / name))] == [(name, "too_much")]


def test_an_archive_of_too_many_members_is_one_reject(tmp_path):
    members = {f"{n}.py": b"x = 1\n" for n in range(20)}
    for name, pack in (("many.zip", zipped), ("many.tar.gz", tarred)):
        found = all_files(archive_source(pack(tmp_path / name, members), max_members=10))
        assert [(f.path, f.error) for f in found if f.error] == [(name, "too_much")]
        assert len(all_files(archive_source(tmp_path / name, max_members=20))) == 20


def test_an_xz_file_that_asks_for_too_much_memory_is_broken(tmp_path, monkeypatch):
    """Its window, of 8 MB here, is taken before the first byte comes out."""
    path = tarred(tmp_path / "wide.tar.xz", {"a.py": b"x = 1\n"})
    assert [f.error for f in all_files(archive_source(path))] == [None]
    monkeypatch.setattr(xz, "MAX_PACKING_BYTES", 1_000_000)
    assert [f.error for f in all_files(archive_source(path))] == ["broken_archive"]


@pytest.mark.parametrize("size", [0, 1, 70_000, 1_000_000])
def test_xz_is_read_whole_also_in_several_streams(tmp_path, size):
    path, data = tmp_path / "a.xz", os.urandom(size // 2) * 2
    path.write_bytes(lzma.compress(data) + bytes(8) + lzma.compress(b"end") + bytes(4))
    with xz.Xz(str(path)) as file:
        assert b"".join(iter(lambda: file.read(9000), b"")) == data + b"end"
    path.write_bytes(path.read_bytes()[:-20])
    with xz.Xz(str(path)) as file, pytest.raises(EOFError):
        while file.read(9000):
            pass


@pytest.mark.parametrize("suffix", [".tar.zst", ".tzst"])
def test_a_tar_in_zstandard_is_read(tmp_path, suffix):
    plain = tarred(tmp_path / "code.tar", {"a.py": b"x = 1\n"}).read_bytes()
    path = tmp_path / f"code{suffix}"
    path.write_bytes(pa.compress(plain, "zstd", asbytes=True))
    (tmp_path / "code.tar").unlink()
    assert [(f.path, f.text) for f in all_files(archive_source(tmp_path))] == [("a.py", "x = 1\n")]
    path.write_bytes(path.read_bytes()[:-5])
    assert [f.error for f in all_files(archive_source(tmp_path))][-1] == "broken_archive"


def test_members_that_share_their_bytes_are_read_once_and_then_refused(tmp_path):
    """Two names of one member, as in zip bombs without recursion (cpython 109858)."""
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.py", b"x = 1\n")
        again = copy.copy(archive.filelist[0])
        again.filename = "b.py"
        archive.filelist.append(again)
    assert [(f.path, f.error) for f in all_files(archive_source(path))] == [("a.py", None), ("b.py", "unreadable")]


def test_blank_lines_of_a_packed_file_are_bounded(tmp_path, monkeypatch):
    path = tmp_path / "blank.jsonl.gz"
    with gzip.open(path, "wb") as file:
        file.write(b'{"content": "x = 1"}\n' + b"\n" * 100_000)
    monkeypatch.setattr(bounds, "FREE_BYTES", 1_000_000)
    found = all_files(Source(name="rows", kind="jsonl", path=str(path)))
    assert found[0].text == "x = 1" and found[-1].error == "too_much" and len(found) < 10_100


@pytest.mark.parametrize(("size", "reason"), [(10**12, "too_much"), (90_000_000, "broken_archive")])
def test_a_member_whose_header_lies_about_its_size_costs_no_time(tmp_path, size, reason):
    path, info = tmp_path / "code.tar", tarfile.TarInfo("data.bin")
    info.size = size
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"x" * 1024)
    with open(path, "rb") as handle:
        bounded = archives._BoundedTar(handle, 10**13)
        with pytest.raises(EOFError), tarfile.open(fileobj=bounded, mode="r|") as archive:
            list(archive)
    start = time.process_time()
    (found,) = all_files(archive_source(path))
    assert found.error == reason
    assert time.process_time() - start < 5


def test_a_tar_that_ends_without_its_two_empty_blocks_is_read(tmp_path):
    path = tarred(tmp_path / "code.tar", {"a.py": b"x = 1\n"})
    path.write_bytes(path.read_bytes()[:1024])
    assert [found.text for found in all_files(archive_source(path))] == ["x = 1\n"]
