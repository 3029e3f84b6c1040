"""Skills: what is read of a folder, how it stands in the workspace, and what the prompt says of it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import agex
from agex.errors import ConfigurationError
from agex.llm import EditFile, Observation, Reply, Scripted, TerminalAction, WriteFile
from agex.skills import MOST_FILES, Skills, read_skill
from agex_supervisor.furnishing import Furniture
from tests.nobody import NOBODY, need_nobody

GEO = b"---\nname: geo\ndescription: How to measure\n  on a sphere.\nmodules: [math]\n---\n# Geo\nUse haversine.\n"


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(max_workers=3)
    yield pool
    pool.close()


@pytest.fixture
def geo(tmp_path: Path) -> Path:
    folder = tmp_path / "geo"
    (folder / "tables" / "deep").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / "__pycache__").mkdir()
    (folder / "SKILL.md").write_bytes(GEO)
    (folder / "tables" / "radii.csv").write_text("earth,6371\n")
    (folder / "tables" / "deep" / "x.bin").write_bytes(b"\0\1")
    (folder / ".hidden").write_text("not for agents")
    (folder / ".git" / "config").write_text("not for agents")
    (folder / "__pycache__" / "x.pyc").write_text("not for agents")
    return folder


def task_of(agent: agex.Agent) -> agex.Task[[], Any]:
    @agent.task
    def work() -> Any:
        """Work."""
        raise NotImplementedError

    return work


def agent_with(pool: agex.Pool, source: object, isolation: str, turns: list[Any], **choices: Any) -> agex.Agent:
    agent = agex.Agent(isolation=isolation, llm=Scripted(turns), pool=pool, **choices)
    agent.skill(source)
    return agent


# --- what is read ---


def test_a_folder_gives_its_files_without_those_that_begin_with_a_dot(geo: Path) -> None:
    skill = read_skill(geo)
    assert (skill.name, skill.description, skill.modules) == ("geo", "How to measure on a sphere.", ("math",))
    assert dict(skill.contents) == {
        "SKILL.md": GEO,
        "tables/radii.csv": b"earth,6371\n",
        "tables/deep/x.bin": b"\0\1",
    }
    assert read_skill(str(geo)) == skill


def test_a_file_alone_bytes_and_what_a_package_holds_are_skills_as_well(geo: Path, tmp_path: Path) -> None:
    plain = read_skill(GEO)
    assert dict(plain.contents) == {"SKILL.md": GEO}
    assert read_skill(geo / "SKILL.md") == plain
    with zipfile.ZipFile(tmp_path / "wheel.zip", "w") as archive:
        archive.writestr("geo/SKILL.md", GEO)
        archive.writestr("geo/more.txt", "x")
    packed = read_skill(zipfile.Path(tmp_path / "wheel.zip", "geo/"))
    assert dict(packed.contents) == {"SKILL.md": GEO, "more.txt": b"x"}


def test_front_matter_of_windows_with_keys_of_others_is_read() -> None:
    text = "\ufeff---\r\nname: a.b_c-1\r\ndescription: x\r\nlicense: MIT\r\nmodules: numpy.linalg\r\n---\r\nBody"
    skill = read_skill(text.encode())
    assert (skill.name, skill.modules) == ("a.b_c-1", ("numpy.linalg",))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# Geo", "SKILL.md has no front matter; it opens with a line ---"),
        ("---\nname: geo\n", "SKILL.md has no front matter; it opens with a line ---"),
        ("---\n- a\n---\n", "the front matter of SKILL.md has no `name: value` lines"),
        ("---\nname: [\n---\n", "the front matter of SKILL.md is not YAML: while parsing a flow node"),
        ("---\nname: !!python/name:os.system\n---\n", "the front matter of SKILL.md is not YAML: could not determine"),
        ("---\ndescription: x\n---\n", "`name` of the front matter is missing"),
        ("---\nname: 7\ndescription: x\n---\n", "`name` of the front matter is 7, and has to be text"),
        ("---\nname: geo\n---\n", "`description` of the front matter is missing"),
        ("---\nname: ../up\ndescription: x\n---\n", "`name: ../up` becomes a folder"),
        ("---\nname: .\ndescription: x\n---\n", "`name: .` becomes a folder"),
        (f"---\nname: geo\ndescription: {'x' * 1025}\n---\n", "`description` has 1025 characters"),
        ("---\nname: geo\ndescription: x\nmodules: [1]\n---\n", "`modules` takes dotted names of modules"),
        ("---\nname: geo\ndescription: x\nmodules: a b\n---\n", "`modules` takes dotted names of modules"),
    ],
)
def test_a_skill_that_is_none_is_refused_by_name_and_remedy(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_skill(text.encode())
    assert str(caught.value).startswith(f"the skill given as bytes: {told}")


def test_what_is_no_skill_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such file or folder"):
        read_skill(tmp_path / "missing")
    with pytest.raises(ConfigurationError, match=r"the folder has no SKILL\.md"):
        read_skill(tmp_path)
    with pytest.raises(ConfigurationError, match=r"skill\(\) takes a path, .* not an object of type int"):
        read_skill(7)
    with pytest.raises(ConfigurationError, match="is not UTF-8 text: invalid start byte at byte 0"):
        read_skill(b"\xff---\n")


def test_a_folder_that_is_too_much_is_refused(geo: Path) -> None:
    for number in range(MOST_FILES):
        (geo / "tables" / f"{number}").touch()
    with pytest.raises(ConfigurationError, match=f"it has more than {MOST_FILES} files"):
        read_skill(geo)


def test_a_folder_that_holds_itself_ends_in_an_error(geo: Path) -> None:
    (geo / "loop").symlink_to(geo)
    with pytest.raises(ConfigurationError, match="is nested deeper than 8 folders"):
        read_skill(geo)


def test_of_two_skills_of_one_name_the_second_is_refused_unless_it_is_the_same() -> None:
    skills = Skills()
    skills.add(GEO)
    skills.add(GEO)
    assert len(skills) == 1
    with pytest.raises(ConfigurationError, match="there is a skill 'geo' already"):
        skills.add(GEO.replace(b"name: geo", b"name: Geo"))


# --- how it stands in the workspace ---

READ = """
with open("skills/geo/SKILL.md") as text, open("skills/geo/tables/radii.csv") as table:
    task_success([text.read(3), table.read()])
"""


@pytest.mark.parametrize("isolation", ["none", "process", "kernel"])
def test_an_agent_reads_its_skills_by_the_same_paths_in_every_isolation(
    isolation: str, pool: agex.Pool, geo: Path
) -> None:
    assert task_of(agent_with(pool, geo, isolation, [READ]))() == ["---", "earth,6371\n"]


WRITE = """
told = []
for path, mode in [("skills/geo/SKILL.md", "w"), ("skills/geo/new", "x"), ("a/../skills/geo/SKILL.md", "r+"), ("skills", "a")]:
    try:
        open(path, mode)
    except PermissionError as error:
        told.append(str(error))
with open("skills.txt", "w") as file:
    file.write("mine")
task_success(told)
"""


@pytest.mark.parametrize("isolation", ["none", "kernel"])
def test_code_writes_nothing_into_skills_and_the_refusal_is_a_denial(
    isolation: str, pool: agex.Pool, geo: Path
) -> None:
    outcome = task_of(agent_with(pool, geo, isolation, [WRITE])).run()
    remedy = "for writing refused: skills/ is read-only; copy what you want to change elsewhere"
    assert outcome.unwrap() == [
        f"open of 'skills/geo/SKILL.md' {remedy}",
        f"open of 'skills/geo/new' {remedy}",
        f"open of 'a/../skills/geo/SKILL.md' {remedy}",
        f"open of 'skills' {remedy}",
    ]
    assert [denial.target for denial in outcome.denials] == [
        "skills/geo/SKILL.md",
        "skills/geo/new",
        "a/../skills/geo/SKILL.md",
        "skills",
    ]


@pytest.mark.parametrize("isolation", ["none", "kernel"])
def test_the_other_actions_read_skills_and_change_none_of_them(isolation: str, pool: agex.Pool, geo: Path) -> None:
    (geo / "area.py").write_text("def area(r):\n    return 3 * r * r\n")
    path = "skills/geo/SKILL.md"
    turns: list[Any] = [
        TerminalAction(f"head -n 1 {path}; python -c 'from skills.geo.area import area; print(area(2))'"),
        WriteFile(path, "mine"),
        EditFile(path, "Geo", "Mine"),
        WriteFile("skills/new.md", "mine"),
        TerminalAction("rm -r skills/geo"),
        TerminalAction(f"mv {path} mine"),
        TerminalAction(f"sed -i s/Geo/Mine/ {path}"),
    ]
    agent = agent_with(pool, geo, isolation, [*(Reply(actions=[each]) for each in turns), READ, READ])
    work = task_of(agent)

    assert work() == ["---", "earth,6371\n"]

    assert isinstance(model := agent.model, Scripted)
    seen = [each.texts[0] for each in model.requests[-1].messages if isinstance(each, Observation)]
    assert seen[0] == "---\n12"
    refused = "for writing refused: skills/ is read-only; copy what you want to change elsewhere"
    assert seen[1] == seen[2] == f"PermissionError: open of '{path}' {refused}"
    assert seen[3] == f"PermissionError: open of 'skills/new.md' {refused}"
    assert [refused in each for each in seen[4:]] == [True, True, True]
    work()
    assert model.requests[-1].system == model.requests[0].system  # what was given has no place in a recap


NATIVE = """
import os, shutil
{change}
task_success(1)
"""


@pytest.mark.parametrize(
    "change",
    [
        "os.remove('skills/geo/SKILL.md')",
        "os.remove('skills/geo/SKILL.md'); open('skills/geo/SKILL.md', 'w').write('do harm')",
        "open('skills/geo/more.md', 'w').write('do harm')",
        "shutil.rmtree('skills'); os.symlink('/', 'skills')",
        "shutil.rmtree('skills/geo/tables'); os.symlink('..', 'skills/geo/tables')",
        "os.rename('skills', 'others'); open('skills', 'w').write('do harm')",
        "os.remove('skills/geo/SKILL.md'); os.symlink('../../x', 'skills/geo/SKILL.md')",
        "os.mkdir('skills/more')",
    ],
)
def test_what_code_beyond_the_inner_sandbox_did_to_skills_does_not_reach_the_next_task(
    change: str, pool: agex.Pool, geo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    native = agent_with(pool, geo, "kernel", [NATIVE.format(change=change), READ], policy="full-python")
    work = task_of(native)
    assert work() == 1
    with caplog.at_level(logging.WARNING, "agex"):
        assert work() == ["---", "earth,6371\n"]
    assert caplog.messages == ["skills/ of a workspace was changed by agent code; it is as it was given again"]


def test_skills_that_were_taken_away_are_there_again_in_the_next_task(pool: agex.Pool, geo: Path) -> None:
    code = NATIVE.format(change="shutil.rmtree('skills')")
    work = task_of(agent_with(pool, geo, "kernel", [code, READ], policy="full-python"))
    assert (work(), work()) == (1, ["---", "earth,6371\n"])


def test_furniture_that_stands_is_left_alone(tmp_path: Path) -> None:
    furniture = Furniture("skills", {"a/b/c": b"1", "a/d": b"2"})
    furniture.place(tmp_path)
    before = os.stat(tmp_path / "skills" / "a" / "d")
    furniture.place(tmp_path)
    after = os.stat(tmp_path / "skills" / "a" / "d")
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert (tmp_path / "skills" / "a" / "b" / "c").read_bytes() == b"1"


def test_a_fifo_in_the_place_of_a_file_keeps_nobody_waiting(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    furniture = Furniture("skills", {"a": b"1"})
    furniture.place(home)
    os.remove(home / "skills" / "a")
    os.mkfifo(home / "skills" / "a")
    furniture.place(home)
    assert (home / "skills" / "a").read_bytes() == b"1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


@pytest.mark.parametrize("mode", ["0", "0o300"])
def test_a_folder_that_keeps_even_its_owner_out_is_replaced(mode: str) -> None:
    # As somebody whom modes keep out.
    program = (
        "import os, pathlib, sys, tempfile\nfrom agex_supervisor.furnishing import Furniture\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    home = pathlib.Path(folder, 'home')\n    home.mkdir()\n"
        "    furniture = Furniture('skills', {'a/b': b'1'})\n    furniture.place(home)\n"
        f"    os.rename(home / 'skills', home / 'x')\n    os.mkdir(home / 'skills', {mode})\n"
        "    furniture.place(home)\n    print((home / 'skills' / 'a' / 'b').read_bytes(), sorted(os.listdir(folder)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        user=need_nobody(),
        group=NOBODY,
        extra_groups=[],
        cwd="/",
        env={},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "b'1' ['home']\n", done.stderr


# --- what the prompt says ---


def test_the_prompt_lists_skills_and_shows_their_files_in_place_of_signatures(geo: Path, pool: agex.Pool) -> None:
    agent = agent_with(pool, geo, "kernel", [])
    agent.module("math")
    text = agent.system_prompt(())
    assert "\n- skills/geo/SKILL.md: How to measure on a sphere." in text
    assert "To import once you have read how to use it: math (skills/geo/SKILL.md)" in text
    assert "import math" not in text


def test_a_skill_about_a_module_that_cannot_be_imported_is_refused_before_a_model_is_asked(pool: agex.Pool) -> None:
    agent = agent_with(pool, GEO.replace(b"[math]", b"[numpy]"), "kernel", [])
    with pytest.raises(ConfigurationError, match="skill 'geo' is about the module 'numpy', which is not registered"):
        task_of(agent)()
    agent.module("numpy")
    assert "numpy (skills/geo/SKILL.md)" in agent.system_prompt(())
