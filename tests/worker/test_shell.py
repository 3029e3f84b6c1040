"""The shell on a workspace: what it understands, what it refuses, and that nothing in it leaves the workspace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agex_protocol.plan import SandboxPlan
from agex_worker.sandbox.tree import WorkspaceTree
from agex_worker.shell.interpreter import Shell
from agex_worker.shell.python import python_command


class Ran:
    """One script, and what came of it."""

    def __init__(self, root: Path, text: str) -> None:
        out: list[str] = []
        err: list[str] = []
        self.tree = WorkspaceTree(root)
        python = python_command(SandboxPlan(), {"answer": 42}, {}, self.tree, redirects=False)
        self.code = Shell(self.tree, out.append, err.append, {"python": python}).run(text)
        self.out, self.err = "".join(out), "".join(err)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "a.txt").write_text("b\na\nb\n")
    (tmp_path / "secret").write_text("SECRET")
    return folder


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("sort a.txt | uniq -c | sort -rn | head -n 1", "      2 b\n"),
        ("cat a.txt > c; cat a.txt >> c; wc -l < c", "6\n"),
        ("echo 'one  two' \"three ${X_:-unset}\"", "one  two three unset\n"),
        ("grep -c b *.txt; echo *.{txt,none}", "2\na.txt *.none\n"),
        ("sed -e s/b/c/ a.txt | tr a-z A-Z | cut -c 1 | xargs echo", "C A C\n"),
        ("printf 'x\\n' | tee t1 t2 && diff t1 t2 && echo same", "x\nsame\n"),
        ("mkdir -p d/e; cp a.txt d/e; mv d/e/a.txt d/f; rm -r d/e; find d -type f", "d/f\n"),
        ("tar czf t.tgz a.txt; rm a.txt; tar xzf t.tgz; cat a.txt", "b\na\nb\n"),
        ("gzip a.txt; zcat a.txt.gz | head -n 1", "b\n"),
        ("for x in 1 2 3; do echo $x; done | sort -r | head -n 1", "3\n"),
        ("for x in 1 2; do for y in a b; do\necho $x$y\ndone; done > n; wc -l < n", "4\n"),
        ("n=0; while [ $n -lt 3 ]; do n=$((n + 1)); echo $n; done", "1\n2\n3\n"),
        ("n=5; until [ $n = 3 ]; do n=$((n-1)); done; echo $n", "3\n"),
        ('while read line; do echo "<$line>"; done < a.txt', "<b>\n<a>\n<b>\n"),
        (
            "for x in 1 2 3 4; do if [ $x = 2 ]; then continue; fi; if [ $x = 4 ]; then break; fi; echo $x; done",
            "1\n3\n",
        ),
        ("if [ -f nosuch ]; then echo 1; elif [ -f a.txt ]; then echo 2; else echo 3; fi", "2\n"),
        ("v='a b'; for w in $v \"$v\"; do echo [$w]; done", "[a]\n[b]\n[a b]\n"),
        ('echo "$(echo in | tr a-z A-Z) $((7 / 2 - 1)) $(echo "$(echo deep)")"', "IN 2 deep\n"),
        ("X=1 Y='a b' echo hi; Z=; echo \"[$Z]\"", "hi\n[]\n"),
        ("false; echo $?; true; echo $?", "1\n0\n"),
        ("false && echo no || echo yes # not a comment: no", "yes\n"),
        ("echo 'a;b' \"c && d\" e\\;f", "a;b c && d e;f\n"),
        ("cat <<'END' | sort\nz; $(boom)\na && b\nEND\necho after", "a && b\nz; $(boom)\nafter\n"),
        (
            "printf 'echo from file\\n' > s.sh; bash s.sh; sh -c 'echo inner'; source s.sh",
            "from file\ninner\nfrom file\n",
        ),
        ("mkdir d; cd d; echo x > y; cd ..; cat d/y", "x\n"),
        ("echo out; exit 0; echo never", "out\n"),
    ],
)
def test_what_shells_do_it_does(root: Path, text: str, out: str) -> None:
    ran = Ran(root, text)
    assert (ran.out, ran.err, ran.code) == (out, "", 0)


@pytest.mark.parametrize(
    ("text", "out", "err", "code"),
    [
        ("echo before; cat nosuch", "before\n", "cat: nosuch: No such file or directory\n", 1),
        ("exit 7", "", "", 7),
        ("grep zzz a.txt", "", "", 1),
        ("for x in 1; do echo $x", "", "'for' without its 'done'\n", 2),
        ("echo a; done", "", "'done' without the word that it belongs to\n", 2),
        ("if then echo; fi", "", "'if' without a condition\n", 2),
        ("echo $((1 / 0)); echo on", "on\n", "$((1 / 0)) cannot be computed: division by 0\n", 0),
        ("set -u; echo $UNSET; echo on", "", "UNSET: unbound variable\n", 1),
        ("set -e; false; echo never", "", "", 1),
        ("set -o pipefail; cat nosuch | wc -l", "0\n", "cat: nosuch: No such file or directory\n", 1),
        ("cat < nosuch", "", "nosuch: No such file or directory\n", 1),
        ("echo 'not closed", "", "a ' that is not closed\n", 2),
        ("cat << END\nx", "", "the text after << does not end: a line with 'END' alone is missing\n", 2),
        ("a=(1 2)", "", "there are no arrays here: keep words in a variable, or lines in a file\n", 2),
        ("cat <(ls)", "", "<(...) is not available: write to a file first, or use a pipe\n", 2),
        ("echo ${x!y}", "", "${x!y} is not understood here; sed or awk can change a text\n", 1),
        ("echo x >&3", "", ">&3: only 0, 1 and 2 can be redirected here\n", 1),
        ("echo x 3> f", "", "3>: only 0, 1 and 2 can be redirected here\n", 1),
        ("echo {1..99999}", "", "more than 10000 words come of '{1..99999}'\n", 1),
        ("chmod 600 a.txt", "", "chmod: 600: files have no modes here; each can be read, written and run\n", 1),
        ("diff a.txt a.txt && echo same; echo b > b; diff a.txt b > /dev/null", "same\n", "", 1),
        ("break", "", "break and continue belong into a loop\n", 2),
    ],
)
def test_what_fails_says_why_by_its_text_and_its_exit_code(
    root: Path, text: str, out: str, err: str, code: int
) -> None:
    ran = Ran(root, text)
    assert (ran.out, ran.err, ran.code) == (out, err, code)


def test_commands_within_one_another_without_end_are_stopped(root: Path) -> None:
    ran = Ran(root, "echo 'source s' > s; source s")
    assert (ran.out, ran.code) == ("", 1)
    assert "more than 40 commands within one another" in ran.err


@pytest.mark.parametrize(
    "text",
    [
        "cat ../secret",
        "cat {up}/secret",
        "cat link",
        "cat out/secret",
        "cp link copy && cat copy",
        "cp -r out copied && cat copied/secret",
        "grep -r SECRET .",
        "grep -r SECRET out",
        "tar cf t.tar link out; tar tf t.tar; tar xf t.tar; cat link",
        "cd ..; cat secret",
        "cd out; cat secret",
        "find .. -name secret -exec cat {{}} ';'",
        "python link",
        "source link",
        "cat < link",
        "sed s/x/y/ link",
        "ls ..; ls {up}; ls out",
    ],
)
def test_nothing_outside_the_workspace_is_read(root: Path, tmp_path: Path, text: str) -> None:
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "out").symlink_to(tmp_path)
    ran = Ran(root, text.format(up=tmp_path))
    assert "SECRET" not in ran.out + ran.err and "secret\n" not in ran.out


@pytest.mark.parametrize(
    "text",
    [
        "echo x > ../secret",
        "echo x >> {up}/secret",
        "echo x > link",
        "echo x > out/secret; echo x > out/new",
        "rm ../secret; rm out/secret; rm -r ..",
        "mv ../secret .; mv out/secret .; mv a.txt ../secret; mv a.txt out/new",
        "mkdir ../new; mkdir out/new; touch out/new",
        "cp a.txt out/new; cp a.txt link",
        "sed -i s/S/T/ link; tee out/new < a.txt",
        "python -c \"open('out/new', 'w')\"; python -c \"open('link', 'w')\"",
        "tar cf t.tar a.txt; tar xf t.tar -C out; tar xf t.tar -C ..",
    ],
)
def test_nothing_outside_the_workspace_is_changed(root: Path, tmp_path: Path, text: str) -> None:
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "out").symlink_to(tmp_path)
    Ran(root, text.format(up=tmp_path))
    assert (tmp_path / "secret").read_text() == "SECRET"
    assert sorted(os.listdir(tmp_path)) == ["secret", "workspace"]


def test_a_pipe_in_the_workspace_is_no_file_and_nobody_waits_for_its_other_end(root: Path) -> None:
    os.mkfifo(root / "pipe")
    ran = Ran(root, "cat pipe; echo x > pipe; grep x pipe; wc pipe")
    assert (ran.out, ran.code) == ("", 1)


def test_what_was_added_and_what_was_changed_is_known_afterwards(root: Path) -> None:
    tree = Ran(root, "echo x > d; echo y >> a.txt; echo z >> d; cp d e; rm e").tree
    assert (tree.added, tree.modified) == (("d",), ("a.txt",))


def test_python_runs_a_file_with_its_arguments_and_input_under_the_inner_sandbox(root: Path) -> None:
    (root / "p.py").write_text("import sys\nprint(sys.argv, sys.stdin.read(), answer)\nprint('e', file=sys.stderr)\n")
    ran = Ran(root, "echo in | python p.py 1 'two words' | tr a-z A-Z")
    assert (ran.out, ran.err, ran.code) == ("['P.PY', '1', 'TWO WORDS'] IN\n 42\n", "e\n", 0) or ran.out == (
        "e\n['P.PY', '1', 'TWO WORDS'] IN\n 42\n"
    )


@pytest.mark.parametrize(
    ("text", "said", "code"),
    [
        ("python -c 'import sys; sys.exit(3)'", "", 3),
        ("python -c 'raise ValueError(1)'", "ValueError: 1", 1),
        ("python -c 'import os'", "the module 'os' is not registered", 1),
        ("python -c 'task_success(1)'", "name 'task_success' is not defined", 1),
        ("python -c 'print(inputs)'", "name 'inputs' is not defined", 1),
        ("python -m json", "there is no module 'json' in the working directory", 1),
        ("python -x", "python FILE [ARGS]", 2),
        ("python nosuch.py", "cannot open nosuch.py", 2),
        ("python -c 'eval(\"1\")'", "eval() is not allowed here", 1),
    ],
)
def test_what_python_refuses_is_an_exit_code_and_a_text(root: Path, text: str, said: str, code: int) -> None:
    ran = Ran(root, text)
    assert (ran.code, said in ran.err) == (code, True), ran.err


def test_input_of_a_script_comes_from_the_pipe(root: Path) -> None:
    assert Ran(root, "printf 'a\\nb\\n' | python -c 'print(input(), input())'").out == "a b\n"


@pytest.mark.parametrize(
    "text",
    [
        f"mkdir -p {'d/' * 61}",
        f"mkdir -p {'d/' * 60}; mkdir {'d/' * 60}e",
        f"mkdir -p {'d/' * 60}; mkdir e; mv e {'d/' * 60}",
        f"mkdir -p {'d/' * 30}; mkdir -p {'e/' * 31}; mv e {'d/' * 30}",
        f"mkdir -p {'d/' * 30}; mkdir -p {'e/' * 31}; cp -r e {'d/' * 30}",
    ],
)
def test_folders_are_not_put_into_one_another_deeper_than_a_workspace_may_have_them(text: str, root: Path) -> None:
    ran = Ran(root, text)
    assert ran.code == 1 and "More than 60 folders within one another" in ran.err
    assert max(folder.count("/") - str(root).count("/") for folder, _, _ in os.walk(root)) <= 60


def test_as_many_folders_as_a_workspace_may_have_are_made_and_moved(root: Path) -> None:
    ran = Ran(root, f"mkdir -p {'d/' * 29}; mkdir -p {'e/' * 31}; mv e {'d/' * 29}; ls {'d/' * 29}{'e/' * 30}")
    assert (ran.out, ran.err, ran.code) == ("e\n", "", 0)


@pytest.mark.parametrize(
    "text", ["f() { f; }; f", "f() { f | f; }; f", "f() { $(f); $(f); }; f", "echo 'sh s' > s; sh s"]
)
def test_what_calls_itself_without_end_is_stopped_as_a_whole(root: Path, text: str) -> None:
    ran = Ran(root, f"{text}; echo never")
    assert (ran.out, ran.err, ran.code) == ("", "more than 40 commands within one another\n", 1)


def test_a_name_that_is_no_command_is_told_with_those_that_are_once(root: Path) -> None:
    ran = Ran(root, "own() { :; }; apt install x; git status")
    first, second = ran.err.splitlines()
    there = first.removeprefix("apt: command not found: no program can be started here, and there are ").split()
    assert {"ls", "awk", "python", "read", "own", "printf"} <= set(there) and there == sorted(there)
    assert (second, ran.code) == ("git: command not found", 127)


def test_a_file_is_run_by_its_path_and_a_module_by_its_name(root: Path) -> None:
    (root / "pkg").mkdir()
    (root / "pkg" / "it.py").write_text("from .of import X\nprint(__name__, X)\n")
    (root / "pkg" / "of.py").write_text("X = 7\n")
    (root / "tool").write_text("#!/usr/bin/env python3\nimport sys\nprint(sys.argv)\n")
    (root / "script").write_text("echo shell $1\n")
    ran = Ran(root, "python -m pkg.it; chmod +x tool; ./tool a; ./script b; python -u pkg/of.py; python --version")
    *lines, version = ran.out.splitlines()
    assert (lines, ran.err, ran.code) == (["__main__ 7", "['./tool', 'a']", "shell b"], "", 0)
    assert version.startswith("Python 3.")


def test_what_python_prints_is_shown_as_it_comes(root: Path) -> None:
    ran = Ran(
        root,
        "echo 1; python -c 'print(2); raise SystemExit(print(3, file=None))'; echo 4 | cat; python -c 'raise GeneratorExit'",
    )
    assert (ran.out, ran.code) == ("1\n2\n3\n4\n", 1)
    assert ran.err.endswith("GeneratorExit\n")


def test_the_current_directory_may_be_taken_away(root: Path) -> None:
    ran = Ran(root, "mkdir d; cd d; (cd ..; rm -r d); pwd; ls")
    assert ran.code == 0 and ran.out == f"{root}\na.txt\n"
