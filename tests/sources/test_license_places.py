"""Which licence a file has by where it lies: trees, installed packages, archives, vendored code."""

import tarfile
import zipfile

import pytest

from builders import sources
from builders.recipe import Source
from builders.sources import trees
from builders.sources.license_places import is_notice
from tests.sources.license_samples import APACHE, BSD_2, BSD_3, EITHER, ISC, LGPL_NOTICE, MIT

CODE = "x = 1\n"


def told(tmp_path, files: dict[str, str], kind: str = "tree", **settings) -> dict[str, tuple[str, str]]:
    """`path -> (licence, what told it)` of the .py files of a source with these files."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    source = Source(name="s", kind=kind, path=str(tmp_path), **settings)
    found = (f for shard in sources.listing(source).shards for f in sources.read(source, shard))
    return {f.path: (f.license, f.license_source) for f in found}


def test_the_nearest_text_tells_and_vendored_code_has_its_own(tmp_path):
    found = told(
        tmp_path,
        {
            "LICENSE": MIT,
            "pyproject.toml": '[project]\nlicense = "MIT"\n',
            "pkg/a.py": CODE,
            "pkg/part/LICENCE.txt": BSD_3,
            "pkg/part/deep/b.py": CODE,
            "pkg/_vendor/__init__.py": CODE,
            "pkg/_vendor/six.py": CODE,
            "pkg/_vendor/six.LICENSE": ISC,
            "pkg/_vendor/lib/COPYING": APACHE,
            "pkg/_vendor/lib/c.py": CODE,
            "pkg/third_party/d.py": CODE,
            "pkg/headed.py": "# SPDX-License-Identifier: Zlib\n",
            "other/.git/HEAD": "ref",
            "other/e.py": CODE,
            "other/LICENSE-THIRD-PARTY": BSD_2,
        },
    )
    assert found == {
        "pkg/a.py": ("MIT", "file"),
        "pkg/part/deep/b.py": ("BSD-3-Clause", "file"),
        "pkg/_vendor/__init__.py": ("unknown-vendored", "none"),
        "pkg/_vendor/six.py": ("ISC", "file"),
        "pkg/_vendor/lib/c.py": ("Apache-2.0", "file"),
        "pkg/third_party/d.py": ("unknown-vendored", "none"),
        "pkg/headed.py": ("Zlib", "header"),
        "other/e.py": ("unknown", "none"),
    }


@pytest.mark.parametrize(
    "texts, metadata, expected",
    [
        ({"LICENSE": BSD_3}, "Classifier: License :: OSI Approved :: BSD License", "BSD-3-Clause"),
        ({}, "Classifier: License :: OSI Approved :: BSD License", "BSD"),
        ({"COPYING": LGPL_NOTICE}, "License: LGPL", "LGPL-2.1-or-later"),
        ({"LICENSE": MIT}, "License: Apache 2.0", "MIT"),
        ({"LICENSE": MIT}, "License-Expression: MIT AND PSF-2.0", "MIT AND PSF-2.0"),
        ({"LICENSE": f"{MIT}\nand\n{BSD_3}"}, "License-Expression: MIT", "MIT"),
        ({"LICENSE": MIT}, "Classifier: License :: OSI Approved :: GNU General Public License (GPL)", "MIT"),
        ({"LICENSE": EITHER, "LICENSE.MIT": MIT, "LICENSE.BSD": BSD_2}, "License: BSD", "BSD-2-Clause OR MIT"),
        ({"LICENSE": MIT, "LICENSE.BSD": BSD_2}, "License: BSD", "MIT AND BSD-2-Clause"),
        ({"LICENSE": "All rights reserved."}, "License: MIT", "MIT"),
        ({"LICENSE": "All rights reserved."}, "License: UNKNOWN", "unknown"),
    ],
)
def test_texts_and_metadata_of_a_package_tell_together(tmp_path, texts, metadata, expected):
    with zipfile.ZipFile(tmp_path / "demo-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("demo/a.py", CODE)
        archive.writestr("demo-1.0.dist-info/METADATA", f"Name: demo\nVersion: 1.0\n{metadata}\n\n")
        archive.writestr("demo-1.0.dist-info/RECORD", "demo/a.py,,\n")
        for name, text in texts.items():
            archive.writestr(f"demo-1.0.dist-info/licenses/{name}", text)
    assert told(tmp_path, {}, "archive")["demo/a.py"][0] == expected


def test_a_folder_of_installed_packages_is_no_package(tmp_path):
    files = {"LICENSE": MIT, "stray.py": CODE}
    for name, text in {"one": ISC, "two": BSD_3}.items():
        outer = "one/_vendor" if name == "two" else ""
        info = f"{outer}/{name}-1.0.dist-info".strip("/")
        files[f"{info}/METADATA"] = f"Name: {name}\nVersion: 1.0\n\n"
        files[f"{info}/licenses/LICENSE"] = text
        files[f"{info}/RECORD"] = f"{name}/a.py,,\n" + ("one/_vendor/three/b.py,,\n" if name == "one" else "")
        files[f"{outer}/{name}/a.py".strip("/")] = CODE
    files["one-1.0.dist-info/licenses/src/one/_vendor/three/LICENSE"] = MIT
    files["one/_vendor/three/b.py"] = CODE
    for kind in ("tree", "packages"):
        assert told(tmp_path, files, kind) == {
            "stray.py": ("unknown", "none"),
            "one/a.py": ("ISC", "file"),
            "one/_vendor/two/a.py": ("BSD-3-Clause", "file"),
            "one/_vendor/three/b.py": ("MIT", "file"),
        }


def test_an_sdist_is_read_by_its_folder(tmp_path):
    folder = tmp_path / "demo-1.0"
    told(folder, {"LICENSE": ISC, "PKG-INFO": "Name: demo\nVersion: 1.0\n\n", "src/demo/a.py": CODE})
    told(folder, {"src/demo.egg-info/PKG-INFO": "Name: demo\nLicense: MIT\n\n", "src/demo/vendor/b.py": CODE})
    with tarfile.open(tmp_path / "demo-1.0.tar.gz", "w:gz") as archive:
        archive.add(folder, "demo-1.0")
    source = Source(name="s", kind="archive", path=str(tmp_path / "demo-1.0.tar.gz"))
    found = [f for shard in sources.listing(source).shards for f in sources.read(source, shard)]
    assert [(f.path, f.repo, f.license, f.license_score) for f in found] == [
        ("demo-1.0/src/demo/a.py", "demo==1.0", "ISC", 1.0),
        ("demo-1.0/src/demo/vendor/b.py", "demo==1.0", "unknown-vendored", None),
    ]


def test_a_declaration_goes_before_the_root_and_not_before_what_is_inside(tmp_path):
    files = {"LICENSE": MIT, "a.py": CODE, "vendor/b.py": CODE, "part/LICENSE": ISC, "part/c.py": CODE}
    assert told(tmp_path, files, license="Zlib") == {
        "a.py": ("Zlib", "declared"),
        "vendor/b.py": ("unknown-vendored", "none"),
        "part/c.py": ("ISC", "file"),
    }


def test_a_changed_licence_changes_the_listing_and_a_tree_reads_each_once(tmp_path, monkeypatch):
    read = []
    real = trees._notice
    monkeypatch.setattr(trees, "_notice", lambda root, name: read.append(name) or real(root, name))
    files = {f"pkg/m{n}/a{n}.py": CODE for n in range(20)} | {"LICENSE": MIT, "pkg/m3/LICENSE": ISC}
    found = told(tmp_path, files, files_per_shard=2)
    assert sorted(read) == ["LICENSE", "pkg/m3/LICENSE"] and len(found) == 20
    source = Source(name="s", kind="tree", path=str(tmp_path))
    before = sources.listing(source).fingerprint
    (tmp_path / "LICENSE").write_text(BSD_3)
    assert sources.listing(source).fingerprint != before
    assert told(tmp_path, {})["pkg/m0/a0.py"] == ("BSD-3-Clause", "file")


def test_files_that_tell_licences():
    named = ["LICENSE", "a/LICENCE.md", "COPYING.LESSER", "UNLICENSE", "six.LICENSE", "x.dist-info/RECORD", "a/.git"]
    assert all(map(is_notice, [*named, "PKG-INFO", "pyproject.toml", "LICENSE-MIT", "license.txt"]))
    others = ["licenses.py", "LICENSE.html", "RECORD", "a/METADATA", "licensing_of.md", "x.egg-info/PKG-INFO"]
    assert not any(map(is_notice, others))
