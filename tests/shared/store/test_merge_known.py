"""``factory merge`` of a stream that the target knows already: no row is left out silently, and none is replaced."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factory.cli import cli
from shared.cli.console import run
from shared.errors import StoreError
from shared.store import layout
from shared.store import merge as merging
from shared.store.dataset import create_store
from shared.store.gc import leftovers
from shared.store.merge import merge
from shared.store.reader import Store
from shared.store.rebuild import rebuild_log
from shared.store.verify import set_damaged_aside, verify
from shared.store.writer import StreamWriter
from tests.shared.store.test_lost_log import damage_line, identify, make, never, of_a_dead_writer
from tests.support.stores import RUN, Body, check_episodes, noise_episode, rewrite_log, small_spec

pytestmark = pytest.mark.usefixtures("this_machine")


def contents(path: Path) -> dict[Path, bytes]:
    return {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def numbers(path: Path) -> list[int]:
    return [ref.index for ref in Store(path).episodes]


def in_two_steps(path: Path, early: Path) -> str:
    """A stream at ``path``, and at ``early`` the store as it was half way; the stream's name."""
    spec = create_store(path, small_spec())
    with StreamWriter(path, spec, RUN, 0) as writer:
        for index in range(12):
            if index == 5:
                merge([path], early)
            writer.append(noise_episode(spec, index))
    return writer.name


def make_anew(path: Path, name: str) -> None:
    layout.log_file(path, name).unlink()
    rebuild_log(path, name, identify, never)


def test_a_rebuilt_log_with_more_rows_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its first line is another one, so that it never begins with the bytes that the target has."""
    a, c = tmp_path / "a", tmp_path / "c"
    name = in_two_steps(a, c)
    assert 0 < len(numbers(c)) < 12
    make_anew(a, name)
    assert run(cli, "factory", ["merge", str(a), "--into", str(c)]) == 0
    assert "12 episodes of 1 run(s); 0 streams added, 1 continued, 0 already there" in capsys.readouterr().out
    assert numbers(c) == list(range(12)) and not verify(c).faults and not verify(c).unknown
    check_episodes(Store(c))
    done = merge([a], c)
    assert (done.continued, done.present, done.linked) == (0, 1, 0)


@pytest.mark.parametrize("rebuilt", ["early", "late"])
def test_a_rebuilt_log_with_as_many_rows_or_fewer_is_there_already(tmp_path: Path, rebuilt: str) -> None:
    a, early, c = tmp_path / "a", tmp_path / "early", tmp_path / "c"
    name = in_two_steps(a, early)
    merge([a], c)
    before = contents(c)
    source = early if rebuilt == "early" else a
    make_anew(source, name)
    assert merge([source], c).present == 1 and contents(c) == before
    assert merge([early, a], tmp_path / "both").streams == 1
    assert numbers(tmp_path / "both") == list(range(12)) and not verify(tmp_path / "both").faults


def test_a_stream_of_other_rows_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    a, early, c = tmp_path / "a", tmp_path / "early", tmp_path / "c"
    name = in_two_steps(a, early)
    make(a, range(20, 24))

    def other_rows(number: int, body: Body) -> None:
        if number == 1:
            body["files"]["reward"][1] ^= 1

    rewrite_log(layout.log_file(early, name), other_rows)
    before = contents(early)
    words = f"stream {name} has other rows or episodes.*factory verify"
    with pytest.raises(StoreError, match=words) as caught:
        merge([a], early)
    assert contents(early) == before and "\n" not in str(caught.value)
    for sources in ([a, early], [early, a]):
        with pytest.raises(StoreError, match=words):
            merge(sources, c)
        assert not c.exists()

    def other_seeds(number: int, body: Body) -> None:
        for entry in body.get("episodes", ()):
            entry[1] += 1

    shutil.copytree(a, tmp_path / "seeds")
    rewrite_log(layout.log_file(tmp_path / "seeds", name), other_seeds)
    merge([a], c)
    assert merge([tmp_path / "seeds"], c).present == 2, "a rebuilt log need not know them"
    in_two_steps(tmp_path / "d", tmp_path / "half")
    (last,) = Store(tmp_path / "half").streams
    rewrite_log(layout.log_file(tmp_path / "d", last), other_seeds)
    with pytest.raises(StoreError, match="other rows or episodes"):
        merge([tmp_path / "d"], tmp_path / "half")


def test_a_rebuilt_log_does_not_replace_one_that_knows_the_factors(tmp_path: Path) -> None:
    a, early, c = tmp_path / "a", tmp_path / "early", tmp_path / "c"
    spec = small_spec(world_options={"vary": ["gravity"]})
    create_store(a, spec)
    with StreamWriter(a, spec, RUN, 0) as writer:
        for index in range(12):
            if index == 5:
                merge([a], early)
            writer.append(replace(noise_episode(spec, index), factors={"gravity": index / 8}))
    log = layout.log_file(a, writer.name)
    shutil.copytree(a, c)
    make_anew(a, writer.name)
    assert {ref.factors for ref in Store(a).episodes} == {None}
    before = contents(early)
    with pytest.raises(StoreError, match=r"seeds, policies or factors differ.*--rebuild-log") as caught:
        merge([a], early)
    assert contents(early) == before and "\n" not in str(caught.value)
    of_a_dead_writer(early_log := layout.log_file(early, writer.name))
    shutil.copyfile(early_log, log)
    rebuild_log(a, writer.name, identify, never)
    assert merge([a], early).continued == 1 and numbers(early) == list(range(12)) and not verify(early).faults
    known = [ref.factors for ref in Store(early).episodes]
    assert known[:2] == [{"gravity": 0.0}, {"gravity": 0.125}] and known[-1] is None, "as the error told"
    shutil.rmtree(early)
    shutil.copytree(c, early)  # and a longer log that knows more takes the place of one that was made anew
    make_anew(early, writer.name)
    lines = layout.log_file(early, writer.name).read_bytes().splitlines(keepends=True)
    layout.log_file(early, writer.name).write_bytes(b"".join(lines[:4]))
    assert merge([c], early).continued == 1 and Store(early).episodes == Store(c).episodes


@pytest.mark.parametrize("how", ["deleted", "empty", "damaged"])
def test_shards_of_a_stream_that_lost_its_log_in_the_target_stay(tmp_path: Path, how: str) -> None:
    target, early = tmp_path / "a", tmp_path / "early"
    name = in_two_steps(target, early)
    make(early, range(20, 24))
    log = layout.log_file(target, name)
    if how == "damaged":
        of_a_dead_writer(log)
        damage_line(log, 2)
    else:
        log.unlink() if how == "deleted" else log.write_bytes(b"")
    before = contents(target)
    with pytest.raises(StoreError, match=f"{name}.*factory verify") as caught:
        merge([early], target)
    assert contents(target) == before and "\n" not in str(caught.value)
    rebuild_log(target, name, identify, never)
    assert merge([early], target).present == 1 and numbers(target) == [*range(12), *range(20, 24)]


def test_rows_that_only_the_documents_show_stay_shown(tmp_path: Path) -> None:
    """The target's log lost its last lines, and the source has some of them, not all."""
    target, early = tmp_path / "a", tmp_path / "early"
    name = in_two_steps(target, early)
    log = layout.log_file(target, name)
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2]))
    assert merge([early], target).continued == 1
    assert verify(target).lost_logs == [name] and leftovers(target, 0) == []
    assert numbers(target) == numbers(early)


def test_a_folder_without_a_log_goes_only_if_the_source_has_its_shards(tmp_path: Path) -> None:
    """A killed merge leaves it, with an unfinished log beside."""
    a, early, c = tmp_path / "a", tmp_path / "early", tmp_path / "c"
    name = in_two_steps(a, early)
    merge([a], c)
    log = layout.log_file(c, name)
    log.rename(log.with_name(f"{log.name}.0123abcd.partial"))
    before, other = contents(c), tmp_path / "other"
    flip = layout.stream_directory(other, make(other, range(20, 24))) / "frame" / "c.0.0.0.0"
    flip.write_bytes(flip.read_bytes()[:-1])
    set_damaged_aside(other, verify(other))
    for sources in ([early], [other, early], [early, a]):
        with pytest.raises(StoreError, match=f"{name} has complete shards but no log"):
            merge(sources, c)
        assert contents(c) == before
    assert merge([a, early], c).streams == 1 and numbers(c) == list(range(12)) and not verify(c).faults


def test_a_merge_that_could_not_add_a_log_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, c = tmp_path / "a", tmp_path / "c"
    name = make(a)

    def refuse(partial: Path, log: Path) -> Any:
        partial.unlink()
        raise OSError(5, "the disk refuses", str(log))

    with monkeypatch.context() as patched, pytest.raises(OSError, match="the disk refuses"):
        patched.setattr(merging, "publish_partial", refuse)
        merge([a], c)
    assert not Store(c).streams and not layout.stream_directory(c, name).exists()
    assert merge([a], c).streams == 1 and not verify(c).faults and not verify(c).unknown
