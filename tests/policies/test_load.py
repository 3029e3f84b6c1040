"""Policy files: found, read, stood on one another, and refused with file, line, key, rule and remedy."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from agex_policies.errors import PolicyError
from agex_policies.load import PACKAGED, packaged_names
from agex_policies.schema import Policy, values


@pytest.fixture(autouse=True)
def no_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGEX_POLICY_PATH", raising=False)
    monkeypatch.delenv("AGEX_POLICY_CEILING", raising=False)


def refusal(path: Path) -> str:
    with pytest.raises(PolicyError) as caught:
        Policy.load(path)
    return str(caught.value)


def written(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", packaged_names())
def test_every_packaged_policy_loads_and_says_first_for_whom_it_is(name: str) -> None:
    policy = Policy.load(name)
    assert (policy.name, policy.source, policy.origin.packaged) == (name, PACKAGED / f"{name}.toml", True)
    assert (PACKAGED / f"{name}.toml").read_text().startswith("# For ")
    assert policy.description


def test_the_default_file_says_what_the_schema_says() -> None:
    assert values(Policy.load("default")) == values(Policy())


@pytest.mark.parametrize("name", packaged_names())
def test_a_policy_written_out_loads_as_the_same_policy(name: str, tmp_path: Path) -> None:
    policy = Policy.load(name).extend(
        {
            "widen": ["filesystem.read", "env.pass", "network.allow", "syscalls.allow"],
            "filesystem": {"read": ['/a"b\x7f€😀\u202e\U000e0041'], "hide_host": True},
            "network": {"allow": ["db.example.com:5432", {"to": "[::1]:443", "tls": "required"}]},
            "syscalls": {"allow": ["sendfile"], "deny": ["socketpair"]},
            "host_calls": {"errors": "type", "max_rate": "5/min", "max_bytes": "3MiB"},
            "isolation": {"namespaces": "required", "cgroup": "required"},
        }
    )
    assert values(Policy.load(written(tmp_path, policy.to_toml()))) == values(policy)


def test_a_file_without_extends_stands_on_default(tmp_path: Path) -> None:
    policy = Policy.load(written(tmp_path, '[limits]\nmemory = "64MiB"\n'))
    assert values(policy) == {**values(Policy.load("default")), "limits.memory": "64MiB"}
    assert policy.origin.named == {"limits.memory"}


def test_a_policy_is_found_by_name_in_a_folder_of_the_deployment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, 'extends = "strict"\n', "ours.toml")
    monkeypatch.setenv("AGEX_POLICY_PATH", str(tmp_path))
    assert Policy.load("ours").source == path


def test_a_deployment_policy_cannot_take_the_name_of_a_packaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "", "strict.toml")
    monkeypatch.setenv("AGEX_POLICY_PATH", str(tmp_path))
    with pytest.raises(PolicyError) as caught:
        Policy.load("strict")
    assert str(caught.value) == (
        f"the name 'strict' means {PACKAGED / 'strict.toml'} and {path}; give one of them another name"
    )


def test_a_parent_is_found_by_a_path_from_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    written(tmp_path / "base", 'widen = ["filesystem.read"]\n[filesystem]\nread = ["data"]\n', "base.toml")
    child = Policy.load(written(tmp_path, 'extends = "base/base.toml"\n'))
    assert child.filesystem.read == (str(tmp_path / "base" / "data"),)


WRITE_TOML = "see https://toml.io, or start from the output of `agex policy show default`"
WRONG = {
    "an unknown key": (
        '\n[limits]\nmemroy = "1GiB"\n',
        "{file}:3: limits.memroy: there is no such key; did you mean 'limits.memory'?",
    ),
    "a key outside its table": (
        'memory = "1GiB"\n',
        "{file}:1: memory: there is no such key; did you mean 'limits.memory'?",
    ),
    "an unknown table": (
        "# one\n[limit]\nthreads = 4\n",
        "{file}:2: limit: there is no such key; did you mean 'limits'?",
    ),
    "a wrong unit": (
        '[limits]\nwall_time = "3m"\n',
        "{file}:2: limits.wall_time: '3m' has the wrong unit 'm': use one of ms, s, min, h; see `agex policy schema`",
    ),
    "a bare number": (
        "[limits]\nmemory = 512\n",
        (
            "{file}:2: limits.memory: 512 is not a number with a unit in a string: write it like '512MiB';"
            " see `agex policy schema`"
        ),
    ),
    "a count that is a string": (
        '[limits]\nthreads = "4"\n',
        '{file}:2: limits.threads: "4": input should be a valid integer; see `agex policy schema`',
    ),
    "a count that is a truth": (
        "[limits]\nthreads = true\n",
        "{file}:2: limits.threads: true: input should be a valid integer; see `agex policy schema`",
    ),
    "a wrong choice": (
        '[python]\nmode = "ful"\n',
        "{file}:2: python.mode: \"ful\": input should be 'restricted' or 'full'; see `agex policy schema`",
    ),
    "a table that is none": (
        "limits = 3\n",
        "{file}:1: limits: 3: input should be a valid dictionary or instance of Limits; see `agex policy schema`",
    ),
    "no TOML": ("\n\n[limits\n", "{file}:3: this is not TOML: Expected ']' at the end of a table declaration; {write}"),
    "a key twice": (
        "[limits]\nthreads = 4\nthreads = 5\n",
        "{file}:3: this is not TOML: Cannot overwrite a value; {write}",
    ),
    "a table twice": (
        "[limits]\nthreads = 4\n[limits]\n",
        "{file}:3: this is not TOML: Cannot declare ('limits',) twice; {write}",
    ),
    "no TOML at its end": ('\nx = "', "{file}:2: this is not TOML: Unterminated string; {write}"),
    "a missing parent": (
        '\nextends = "nope"\n',
        (
            "{file}:2: extends: there is no policy named 'nope' with agex; packaged are {packaged}; a file of yours is named"
            " by its path, or put into a folder of AGEX_POLICY_PATH"
        ),
    ),
    "a missing parent's file": (
        'extends = "nope.toml"\n',
        "{file}:1: extends: there is no policy file {folder}/nope.toml; give the path to a .toml, or a name",
    ),
    "a parent that is no name": (
        "extends = 7\n",
        '{file}:1: extends: 7 is not the name of, or the path to, a policy; write it like "default" or "../base.toml"',
    ),
    "its own parent": (
        'extends = "mine.toml"\n',
        (
            "{file}:1: extends: policies extend each other in a circle: mine -> mine;"
            " let one of them extend a policy outside of the circle"
        ),
    ),
    "a wider limit": (
        '[limits]\nmemory = "4GiB"\n',
        (
            '{file}:2: limits.memory: "4GiB" allows more than \'default\', which has "1GiB"; a policy only narrows the one it'
            " extends; if this is meant, add 'limits.memory' to `widen`"
        ),
    ),
    "a wider mode": (
        '[python]\nmode = "full"\n',
        (
            '{file}:2: python.mode: "full" allows more than \'default\', which has "restricted"; a policy only narrows the'
            " one it extends; if this is meant, add 'python.mode' to `widen`"
        ),
    ),
    "more files": (
        '[filesystem]\nread = ["data"]\n',
        (
            "{file}:2: filesystem.read: [\"{folder}/data\"] allows more than 'default', which has []; a policy only narrows the"
            " one it extends; if this is meant, add 'filesystem.read' to `widen`"
        ),
    ),
    "a widened key that is none": (
        'widen = ["limits.memry"]\n',
        "{file}:1: widen: 'limits.memry' is no key to widen; did you mean 'limits.memory'?",
    ),
    "a home that nobody expands": (
        '[filesystem]\nread = ["~/data"]\n',
        "{file}:2: filesystem.read: '~/data' is not a path; write it out from '/'",
    ),
    "a wildcard for hosts": (
        '[network]\nallow = ["*.example.com:443"]\n',
        (
            "{file}:2: network.allow: '*.example.com:443' has a wildcard; there are none: name each host;"
            " see `agex policy schema`"
        ),
    ),
    "a grant of this machine by a name": (
        '[network]\nallow = ["localhost:80"]\n',
        (
            "{file}:2: network.allow: 'localhost:80' is this machine by a name; if it is meant, grant its address:"
            " '127.0.0.1:PORT'; see `agex policy schema`"
        ),
    ),
    "an unknown key of a grant": (
        '[network]\nallow = [{{ to = "a.example:443", tsl = "any" }}]\n',
        (
            "{file}:2: network.allow: 'tsl' is no key of a grant; write 'host:port', or {{ to = 'host:port', tls ="
            " 'required' }} with tls 'required' or 'any'; see `agex policy schema`"
        ),
    ),
    "a grant": (
        '[network]\nallow = ["api.example.com:443"]\n',
        (
            '{file}:2: network.allow: [{{ to = "api.example.com:443", tls = "required" }}] allows more than \'default\','
            " which has []; a policy only narrows the one it extends; if this is meant, add 'network.allow' to `widen`"
        ),
    ),
    "a system call that breaks a promise": (
        '[syscalls]\nallow = ["ptrace"]\n',
        "{file}:2: syscalls.allow: 'ptrace' can never be allowed: ...",
    ),
    "a system call by its number": (
        '[syscalls]\ndeny = ["101"]\n',
        (
            "{file}:2: syscalls.deny: '101' is a number; system calls are named, because numbers differ between machines;"
            " see `agex policy schema`"
        ),
    ),
    "a system call that no worker can do without": (
        '[syscalls]\ndeny = ["mmap"]\n',
        "{file}:2: syscalls.deny: 'mmap' cannot be denied: ...",
    ),
    "a system call that is none": (
        '[syscalls]\nallow = ["prioritys"]\n',
        (
            "{file}:2: syscalls.allow: 'prioritys' is no group, and no system call that stands in one: did you mean"
            " 'priorities'?; see `agex policy schema`"
        ),
    ),
    "a group that is opened": (
        '[syscalls]\nallow = ["priorities"]\n',
        (
            "{file}:2: syscalls.allow: [\"priorities\"] allows more than 'default', which has []; a policy only narrows the"
            " one it extends; if this is meant, add 'syscalls.allow' to `widen`"
        ),
    ),
    "a rate without a time": (
        '[host_calls]\nmax_rate = "100"\n',
        (
            "{file}:2: host_calls.max_rate: '100' is not a count a time in a string: write it like '100/s', '100/min' or"
            " '100/h'; see `agex policy schema`"
        ),
    ),
    "less isolation than the parent's": (
        '[isolation]\nnamespaces = "off"\n',
        (
            '{file}:2: isolation.namespaces: "off" allows more than \'default\', which has "auto"; a policy only narrows'
            " the one it extends; if this is meant, add 'isolation.namespaces' to `widen`"
        ),
    ),
    "files hidden without a view": (
        'widen = ["isolation.namespaces"]\n[filesystem]\nhide_host = true\n[isolation]\nnamespaces = "off"\n',
        (
            "{file}:3: filesystem.hide_host: other files can be hidden only by a mount namespace, and"
            ' `isolation.namespaces` is "off"; set it to "auto" or "required", or leave `hide_host` out'
        ),
    ),
    "a wildcard for variables": (
        '[env]\npass = ["AWS_*"]\n',
        (
            "{file}:2: env.pass: 'AWS_*' is not the name of one environment variable; there are no wildcards;"
            " see `agex policy schema`"
        ),
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_bad_file_is_refused_with_its_line_the_rule_and_the_remedy(wrong: str, tmp_path: Path) -> None:
    text, expected = WRONG[wrong]
    path = written(tmp_path, text.replace("{{", "{").replace("}}", "}"))
    expected = expected.format(file=path, folder=tmp_path, packaged=", ".join(packaged_names()), write=WRITE_TOML)
    if expected.endswith("..."):  # what follows is said, and tested, where the rule is
        assert refusal(path).startswith(expected.removesuffix("..."))
    else:
        assert refusal(path) == expected


def test_objects_may_be_sealed_unless_a_policy_says_no_and_unpickling_has_to_be_meant(tmp_path: Path) -> None:
    default, strict = Policy.load("default").results, Policy.load("strict").results
    assert (default.opaque, strict.opaque) == (True, False)
    assert (default.trust_unpickle, strict.trust_unpickle) == (False, False)
    path = written(tmp_path, "[results]\ntrust_unpickle = true")
    assert refusal(path).startswith(f"{path}:2: results.trust_unpickle: ")
    assert "widen" in refusal(path)
    path = written(tmp_path, 'widen = ["results.trust_unpickle"]\n[results]\ntrust_unpickle = true')
    assert Policy.load(path).results.trust_unpickle


def test_a_circle_of_three_names_all_of_them(tmp_path: Path) -> None:
    written(tmp_path, 'extends = "b.toml"', "a.toml")
    written(tmp_path, 'extends = "c.toml"', "b.toml")
    path = written(tmp_path, '\nextends = "a.toml"', "c.toml")
    assert refusal(tmp_path / "a.toml") == (
        f"{path}:2: extends: policies extend each other in a circle: a -> b -> c -> a;"
        " let one of them extend a policy outside of the circle"
    )


@pytest.mark.parametrize("kind", ["directory", "FIFO", "socket", "device"])
def test_what_is_no_regular_file_is_refused_and_never_opened(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    match kind:
        case "directory":
            path.mkdir()
        case "FIFO":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))
        case _:
            path = Path("/dev/zero")
    assert refusal(path) == f"{path}: this is not a regular file; name a .toml file"


def test_a_file_that_is_no_text_or_too_much_of_it_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b'\ndescription = "\xff"')
    assert refusal(binary) == f"{binary}:2: this is not UTF-8 text; save it as UTF-8"
    huge = written(tmp_path, "#" * ((1 << 20) + 1), "huge.toml")
    assert refusal(huge).startswith(f"{huge}: a policy file has at most 1048576 bytes; ")
    # In /proc a file has content although its size is 0.
    assert refusal(Path("/proc/self/status")).startswith(f"/proc/{os.getpid()}/status:1: this is not TOML: ")


def test_text_that_would_break_the_parser_is_refused(tmp_path: Path) -> None:
    deep = written(tmp_path, "x = " + "[" * 100_000, "deep.toml")
    assert refusal(deep).startswith(f"{deep}: lists or tables are nested too deep; ")
    long = written(tmp_path, "x = " + "1" * 5_000, "long.toml")
    assert refusal(long).startswith(f"{long}:1: this is not TOML: ")


NO_NAMES = {
    "NUL": "a\0b",
    "NUL in a path": "a\0b.toml",
    "long": "x" * 5_000,
    "long path": "x" * 5_000 + ".toml",
    "no Unicode": "\ud800",
    "no Unicode in a path": "\ud800.toml",
    "empty": "",
    "dot": ".",
    "dots": "..",
    "slash": "/",
}


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_that_no_file_can_have_is_no_policy(name: str) -> None:
    with pytest.raises(PolicyError):
        Policy.load(NO_NAMES[name])


def test_links_that_lead_to_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").symlink_to("b.toml")
    (tmp_path / "b.toml").symlink_to("a.toml")
    path = tmp_path / "a.toml"
    assert refusal(path) == f"{path} cannot be reached: Too many levels of symbolic links; give another path"


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    assert refusal(path) == (
        f"{path}: cannot be read: Permission denied; let user {os.geteuid()} read it, or name another"
    )


NARROWER: list[dict[str, Any]] = [
    {"limits": {"memory": "1024MiB", "wall_time": "0.5min", "threads": 1}},
    {"python": {"modules": ["numpy"]}},
    {"isolation": {"require": "kernel", "accept": ["process"]}},
    {"isolation": {"namespaces": "required", "cgroup": "required"}},
    {"filesystem": {"hide_host": True}},
    {"host_calls": {"errors": "type", "max_rate": "5/h", "max_bytes": "1KiB"}},
]


@pytest.mark.parametrize("changes", NARROWER)
def test_a_child_may_narrow_without_asking(changes: dict[str, Any]) -> None:
    Policy.load("default").extend(changes)


WIDER: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("limits.cpu_time", {}, {"limits": {"cpu_time": "3min"}}),
    ("limits.open_files", {}, {"limits": {"open_files": 257}}),
    ("results.max_size", {}, {"results": {"max_size": "257MiB"}}),
    ("python.modules", {"python": {"modules": ["numpy"]}}, {"python": {"modules": ["numpy.linalg", "numpyro"]}}),
    ("python.builtins", {}, {"python": {"builtins": ["open"]}}),
    ("filesystem.write", {}, {"filesystem": {"write": ["/srv"]}}),
    ("isolation.require", {"isolation": {"require": "kernel"}}, {"isolation": {"require": "process"}}),
    ("env.pass", {}, {"env": {"pass": ["TZ"]}}),
    ("network.allow", {}, {"network": {"allow": ["api.example.com:443"]}}),
    (
        "network.allow",
        {"widen": ["network.allow"], "network": {"allow": ["api.example.com:443"]}},
        {"network": {"allow": [{"to": "api.example.com:443", "tls": "any"}]}},
    ),
    ("filesystem.hide_host", {"filesystem": {"hide_host": True}}, {"filesystem": {"hide_host": False}}),
    ("host_calls.errors", {"host_calls": {"errors": "type"}}, {"host_calls": {"errors": "message"}}),
    ("host_calls.max_rate", {"host_calls": {"max_rate": "100/s"}}, {"host_calls": {"max_rate": "101/s"}}),
    # As many in the long run, but more at once.
    ("host_calls.max_rate", {"host_calls": {"max_rate": "10/s"}}, {"host_calls": {"max_rate": "600/min"}}),
    ("host_calls.max_rate", {"host_calls": {"max_rate": "100/s"}}, {"host_calls": {"max_rate": None}}),
    ("host_calls.max_bytes", {"host_calls": {"max_bytes": "1MiB"}}, {"host_calls": {"max_bytes": "2MiB"}}),
    ("isolation.namespaces", {}, {"isolation": {"namespaces": "off"}}),
    (
        "isolation.namespaces",
        {"isolation": {"namespaces": "required"}},
        {"isolation": {"namespaces": "auto"}},
    ),
    ("isolation.cgroup", {}, {"isolation": {"cgroup": "off"}}),
]


@pytest.mark.parametrize(("key", "first", "then"), WIDER)
def test_a_child_widens_only_what_it_names(key: str, first: dict[str, Any], then: dict[str, Any]) -> None:
    parent = Policy.load("default").extend(first)
    with pytest.raises(PolicyError) as caught:
        parent.extend(then)
    assert caught.value.key == key
    assert caught.value.remedy == (
        f"a policy only narrows the one it extends; if this is meant, add {key!r} to `widen`"
    )
    parent.extend({"widen": [key], **then})


def test_lists_of_grants_are_added_to_the_parents() -> None:
    parent = Policy.load("default").extend({"widen": ["filesystem.read"], "filesystem": {"read": ["/srv/data"]}})
    # A path beneath one that the parent grants is nothing new.
    child = parent.extend('[filesystem]\nread = ["/srv/data/2024"]')
    assert child.filesystem.read == ("/srv/data", "/srv/data/2024")


def test_what_a_program_adds_names_no_file_and_no_parent() -> None:
    policy = Policy.load("default")
    with pytest.raises(PolicyError) as relative:
        policy.extend({"filesystem": {"read": ["data"]}})
    assert str(relative.value) == (
        "default (extended): filesystem.read: 'data' is relative, but to no file; write it out from '/'"
    )
    with pytest.raises(PolicyError) as parent:
        policy.extend({"extends": "strict"})
    assert str(parent.value) == "default (extended): extends: this extends 'default' already; leave `extends` out"


def test_nothing_exceeds_the_ceiling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGEX_POLICY_CEILING", "strict")
    Policy.load("strict")
    line = 1 + (PACKAGED / "default.toml").read_text().splitlines().index('memory = "1GiB"')
    with pytest.raises(PolicyError) as caught:
        Policy.load("default")
    assert str(caught.value) == (
        f'{PACKAGED / "default.toml"}:{line}: limits.memory: "1GiB" is beyond the ceiling \'strict\', which allows "512MiB";'
        " ask for less; whoever set AGEX_POLICY_CEILING can allow more"
    )
