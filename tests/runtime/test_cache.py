"""The cache on disk: what was stored comes back, and nothing that somebody else could have written."""

from __future__ import annotations

import logging
import os
import resource
import stat
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from source_tree import ROOT

from kgraph.errors import KgraphWarning
from kgraph.runtime.cache import ObjectCache, open_cache

KEY, OTHER = "a" * 64, "b" * 64
CODE = bytes(range(256)) * 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a cache with one entry."""
    ObjectCache(tmp_path / "cache").put(KEY, CODE)
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def strict_umask() -> Iterator[None]:
    """Rights must not come from the process' mask."""
    before = os.umask(0)
    yield
    os.umask(before)


def entry(folder: Path, key: str = KEY) -> Path:
    """The file of an entry."""
    return folder / "objects" / key


def rights(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.lstat().st_mode)


def test_another_process_reads_what_one_process_wrote(folder: Path):
    script = (
        "import sys; from pathlib import Path; from kgraph.runtime.cache import ObjectCache\n"
        f"assert ObjectCache(Path(sys.argv[1])).get({KEY!r}) == {CODE!r}"
    )
    subprocess.run([sys.executable, "-c", script, str(folder)], cwd=ROOT, check=True, timeout=60)
    assert ObjectCache(folder).get(OTHER) is None


def test_only_the_user_has_rights(folder: Path):
    assert {p.name: rights(p) for p in [folder, *folder.rglob("*")]} == {
        "cache": 0o700, "objects": 0o700, "key": 0o600, KEY: 0o600,
    }  # fmt: skip
    assert len((folder / "key").read_bytes()) == 32


def flip(at: int) -> Callable[[Path], None]:
    """Damage one byte."""

    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)

    return damage


def replace_by_link(path: Path) -> None:
    """A link to a valid entry."""
    path.rename(path.with_name(OTHER))
    path.symlink_to(OTHER)


def swap(path: Path) -> None:
    """A valid entry, under another name."""
    ObjectCache(path.parents[1]).put(OTHER, b"other code")
    path.with_name(OTHER).rename(path)


def fifo(path: Path) -> None:
    """Something that would block a reader."""
    path.unlink()
    os.mkfifo(path, 0o600)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "magic": flip(3),
    "proof": flip(20),
    "first byte of the code": flip(48),
    "last byte of the code": flip(-1),
    "empty": lambda path: path.write_bytes(b""),
    "cut in the proof": lambda path: os.truncate(path, 30),
    "cut in the code": lambda path: os.truncate(path, 100),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "bare code": lambda path: path.write_bytes(CODE),
    "others may read": lambda path: path.chmod(0o644),
    "others may write": lambda path: path.chmod(0o622),
    "link": replace_by_link,
    "other entry": swap,
    "fifo": fifo,
    "new key": lambda path: (path.parents[1] / "key").write_bytes(bytes(32)),
    "key that others may read": lambda path: (path.parents[1] / "key").chmod(0o640),
    "short key": lambda path: os.truncate(path.parents[1] / "key", 31),
    "key is a link": lambda path: replace_by_link(path.parents[1] / "key"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_an_entry_that_cannot_be_trusted_is_deleted_and_written_again(
    damage: Callable[[Path], None], folder: Path, caplog: pytest.LogCaptureFixture
):
    damage(entry(folder))
    cache = ObjectCache(folder)
    with caplog.at_level(logging.DEBUG, "kgraph.cache"):
        assert cache.get(KEY) is None
    assert len(caplog.records) == 1
    assert not os.path.lexists(entry(folder))
    cache.put(KEY, CODE)
    assert ObjectCache(folder).get(KEY) == CODE
    assert rights(folder / "key") == rights(entry(folder)) == 0o600
    assert len((folder / "key").read_bytes()) == 32


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_somebody_else_is_not_used(folder: Path):
    os.chown(entry(folder), 12345, 12345)
    assert ObjectCache(folder).get(KEY) is None
    ObjectCache(folder).put(KEY, CODE)
    os.chown(folder / "objects", 12345, 12345)
    with pytest.warns(KgraphWarning, match="it belongs to somebody else"):
        assert ObjectCache(folder).get(KEY) is None


def open_to_others(folder: Path) -> None:
    """Others could put entries there."""
    (folder / "objects").chmod(0o770)


def linked(folder: Path) -> None:
    """The folder is a link."""
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to("elsewhere")


def file_in_the_way(folder: Path) -> None:
    """The folder cannot be made."""
    folder.rename(folder.with_name("elsewhere"))
    folder.write_text("a file")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (open_to_others, "others have rights to it, mode 770"),
        (lambda folder: folder.chmod(0o777), "others have rights to it, mode 777"),
        (linked, "it is a link"),
        (file_in_the_way, "File exists"),
    ],
    ids=["objects open", "folder open", "link", "file"],
)
def test_a_folder_that_cannot_be_used_gives_one_warning(
    spoil: Callable[[Path], None], message: str, folder: Path
):
    spoil(folder)
    cache = ObjectCache(folder)
    with pytest.warns(KgraphWarning, match=f"is not kept in .*: {message}.* Set KGRAPH_CACHE"):
        assert cache.get(KEY) is None
    cache.put(KEY, CODE)
    cache.put(OTHER, CODE)
    assert cache.get(KEY) is None


def test_a_file_system_without_writing_gives_one_warning(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(path: object, flags: int, *rest: int) -> int:
        if flags & os.O_CREAT:
            raise OSError(30, "Read-only file system")
        return real(path, flags, *rest)

    real = os.open
    monkeypatch.setattr(os, "open", refused)
    cache = ObjectCache(folder)
    assert cache.get(KEY) == CODE
    with pytest.warns(KgraphWarning, match="Read-only file system"):
        cache.put(OTHER, CODE)
    cache.put(OTHER, CODE)


def test_a_full_disk_leaves_nothing_behind(folder: Path):
    """A limit of the size of files stands for the disk; Python turns the signal into an error."""
    script = (
        "import sys, warnings; from pathlib import Path; from kgraph.runtime.cache import ObjectCache\n"
        f"cache = ObjectCache(Path(sys.argv[1])); assert cache.get({KEY!r})\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        f"    cache.put({OTHER!r}, bytes(100_000)); cache.put({OTHER!r}, bytes(100_000))\n"
        "print(*(w.message for w in caught))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("is not kept in") == 1
    assert "File too large" in run.stdout
    assert [p.name for p in (folder / "objects").iterdir()] == [KEY]


def test_the_entries_used_least_recently_go_when_the_limit_is_reached(tmp_path: Path):
    cache = ObjectCache(tmp_path, limit=3500)
    for n, key in enumerate("abc"):
        cache.put(key * 64, bytes(1000))
        os.utime(entry(tmp_path, key * 64), (n, n))
    assert cache.get("a" * 64) is not None
    cache.put("d" * 64, bytes(1000))
    assert sorted(p.name[0] for p in (tmp_path / "objects").iterdir()) == ["a", "c", "d"]
    cache.put("e" * 64, bytes(4000))
    assert not entry(tmp_path, "e" * 64).exists()


def test_many_processes_at_once(tmp_path: Path):
    """All start from nothing, write the same entries over and over, and never read anything else."""
    script = (
        "import sys; from pathlib import Path; from kgraph.runtime.cache import ObjectCache\n"
        "limit = 20_000\n"
        "for n in range(150):\n"
        "    cache = ObjectCache(Path(sys.argv[1]), limit)\n"
        "    key = f'{n % 20:064}'; code = key.encode() * 30\n"
        "    found = cache.get(key)\n"
        "    assert found in (None, code), found\n"
        "    cache.put(key, code)\n"
    )
    command = [sys.executable, "-W", "error", "-c", script, str(tmp_path / "shared")]
    processes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    left = [p.name for p in (tmp_path / "shared" / "objects").iterdir()]
    assert 1 <= len(left) <= 10
    assert not [name for name in left if name.startswith(".")]


def test_two_processes_that_make_the_key_at_once_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def late(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "link", real)
        ObjectCache(tmp_path).put(KEY, CODE)
        real(source, target)

    real = os.link
    monkeypatch.setattr(os, "link", late)
    assert ObjectCache(tmp_path).get(KEY) == CODE
    assert {p.name for p in tmp_path.iterdir()} == {"key", "objects"}


TRAIN = """
import sys
import numpy as np
import kgraph
import kgraph.compiler.native as native
from kgraph.config import compilation_count

generated = []
real = native.to_object
native.to_object = lambda *args, **kwargs: generated.append(1) or real(*args, **kwargs)
kgraph.utils.set_random_seed(1)
model = kgraph.Sequential([kgraph.Input((4,)), kgraph.layers.Dense(3)])
model.compile("adam", "mse")
loss = float(model.train_on_batch(np.ones((5, 4)), np.ones((5, 3))))
print(len(generated), compilation_count(), loss.hex())
"""


def trained(**environment: str) -> list[str]:
    """Objects generated, compilations counted and the loss of one training step in a new process."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", TRAIN], cwd=ROOT, capture_output=True, text=True, timeout=60,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_a_second_process_generates_no_code(tmp_path: Path):
    """Also with other hashes of strings: the text of a program does not depend on the order of sets."""
    folder = str(tmp_path / "cache")
    first = trained(KGRAPH_CACHE=folder, KGRAPH_TARGET_CPU="host", PYTHONHASHSEED="1")
    second = trained(KGRAPH_CACHE=folder, KGRAPH_TARGET_CPU="host", PYTHONHASHSEED="2")
    assert first[:2] == ["1", "1"]
    assert second == ["0", "1", first[2]]
    for path in (tmp_path / "cache" / "objects").iterdir():
        flip(100)(path)
    assert trained(KGRAPH_CACHE=folder, KGRAPH_TARGET_CPU="host") == first
    assert trained(KGRAPH_CACHE=folder, KGRAPH_TARGET_CPU="x86-64")[:2] == ["1", "1"]


def test_off_keeps_nothing(tmp_path: Path):
    assert trained(KGRAPH_CACHE="off", XDG_CACHE_HOME=str(tmp_path), HOME=str(tmp_path))[0] == "1"
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert trained(KGRAPH_CACHE="", XDG_CACHE_HOME=str(tmp_path / "x"))[0] == "1"
    assert trained(KGRAPH_CACHE="", XDG_CACHE_HOME="relative", HOME=str(tmp_path / "h"))[0] == "1"
    assert len(list((tmp_path / "x" / "kgraph" / "objects").iterdir())) == 1
    assert len(list((tmp_path / "h" / ".cache" / "kgraph" / "objects").iterdir())) == 1
    assert not (ROOT / "relative").exists()


def test_without_a_home_the_user_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    cache = open_cache.__wrapped__("")
    assert cache is not None
    with pytest.warns(KgraphWarning, match="there is no home folder"):
        assert cache.get(KEY) is None


def test_a_healthy_cache_warns_of_nothing(tmp_path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache = ObjectCache(tmp_path / "deep" / "cache")
        cache.put(KEY, CODE)
        assert cache.get(KEY) == CODE
