"""A policy learnt from a script: what it is refused is granted as narrowly as can be, until it passes, and then taken back
again wherever it passes without.

Everything runs in locked workers under the policy learnt so far. So the script runs many times, and what a grant lets it
do, it does. The result is a proposal: whoever wrote the script decided what it asks for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from agex.errors import PolicyError
from agex.lessons import Grant, Most, Obstacle, Teacher, covers, measured
from agex.recorded_policy import changes, checked_place, draft_of, put, text
from agex.rehearsal import Rehearsal, Script
from agex_policies.compile import compile_plan
from agex_policies.schema import Policy
from agex_policies.wording import toml
from agex_supervisor.display import display

MAX_ROUNDS = 10
# Runs that only find out whether a grant is needed.
MAX_TRIALS = 20

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Recording:
    """How it went. passed: the script passed under exactly the policy that was written.

    grants: what the policy gives beyond its base. needless: what was learnt and taken back. untried: how many grants were
    kept without a run that tried to do without. obstacles: what stood in the way, and ended: how the last run ended; both
    empty where it passed.
    """

    passed: bool
    rounds: int
    grants: tuple[Grant, ...] = ()
    needless: tuple[Grant, ...] = ()
    untried: int = 0
    obstacles: tuple[Obstacle, ...] = ()
    ended: str = ""


def record(
    script: Script,
    base: str | Path,
    out: str | Path,
    *,
    most: Most = Most(),  # noqa: B008 -- frozen
    rounds: int = MAX_ROUNDS,
    force: bool = False,
    tell: Tell = lambda line: None,
) -> Recording:
    """Write to `out` the smallest policy on top of `base` under which the script passes; nothing where there is none.

    tell: called with a line about each step. ConfigurationError where `out` cannot be written, PolicyError where what the
    script takes goes beyond AGEX_POLICY_CEILING, and what a Sandbox raises where nothing can run.
    """
    place = checked_place(Path(out), script.workspace, force)
    policy = Policy.load(base)
    learner = _Learner(script, policy, Teacher(policy, place, most), tell)
    if not learner.learn(rounds):
        return learner.failed()
    learner.do_without()
    with draft_of(text(script.name, policy, place, learner.grants), place.parent) as draft:
        tell("replaying under the policy as it will be written")
        last = script.replay(Policy.load(draft))
        if not last.passed:
            return learner.failed(last)
        put(draft, place, force)
    return learner.passed()


class _Learner:
    """The grants so far, and the runs that lead to them."""

    def __init__(self, script: Script, base: Policy, teacher: Teacher, tell: Tell) -> None:
        self.grants: tuple[Grant, ...] = ()
        self._script = script
        self._base = base
        self._teacher = teacher
        self._tell = tell
        self._rounds = 0
        self._trials = 0
        self._untried = 0
        self._needless: list[Grant] = []
        self._last = Rehearsal(passed=False)
        # Of the last run alone.
        self._obstacles: dict[Obstacle, None] = {}
        self._beyond: PolicyError | None = None

    def learn(self, rounds: int) -> bool:
        """Whether it passes in learn mode, with the grants that there are then."""
        while self._rounds < rounds:
            self._rounds += 1
            self._last = self._script.rehearse(self._policy(self.grants))
            self._tell(f"round {self._rounds}: {'passed' if self._last.passed else self._last.ended}")
            if self._last.passed:
                self._add(self._let_through())
                return True
            self._obstacles, self._beyond = {}, None
            if not self._add([*self._let_through(), *self._learnt()]):
                return False
        self._obstacles[Obstacle(f"it did not pass in {rounds} of --rounds", "allow more")] = None
        return False

    def do_without(self) -> None:
        """Take back, one after the other, each grant without which it passes, and lower limits to what it takes."""
        for grant in self.grants:
            if self._trials >= MAX_TRIALS:
                self._untried += 1
            elif self._enough(grant, ()):
                self._needless.append(grant)
                self._tell(f"not needed: {_named(grant)}")
            elif (lower := measured(grant, self._last.usage, self._base)) and self._enough(grant, (lower,)):
                self._tell(f"enough: {_named(lower)}")
        if self._untried:
            self._tell(f"kept without trying to do without, after {MAX_TRIALS} runs: {self._untried} grants")

    def passed(self) -> Recording:
        """The recording with a policy."""
        return Recording(True, self._rounds, self.grants, tuple(self._needless), self._untried)

    def failed(self, last: Rehearsal | None = None) -> Recording:
        """The recording without a policy. PolicyError where the ceiling is what stood in the way.

        last: the run that went wrong after everything was learnt.
        """
        if last is not None:
            self._last, self._obstacles, self._beyond = last, {}, None
            self._learnt()
            self._obstacles[Obstacle("it passed in learn mode, but not under what it learnt", _DIFFERS)] = None
        if self._beyond is not None:
            raise self._beyond
        obstacles = tuple(self._obstacles) or (Obstacle("nothing that was refused is known", _UNKNOWN),)
        return Recording(False, self._rounds, self.grants, obstacles=obstacles, ended=self._last.ended)

    def _policy(self, grants: Iterable[Grant]) -> Policy:
        return self._base.extend(changes(grants))

    def _let_through(self) -> list[Grant]:
        """The groups of system calls that only learn mode opened."""
        return [Grant("syscalls.allow", group, "a system call of this group was made") for group in self._last.opened]

    def _learnt(self) -> list[Grant]:
        """A grant for each refusal of the last run; one that has none is an obstacle."""
        found: list[Grant] = []
        policy = self._policy(self.grants)
        for denial in self._last.denials:
            lesson = self._teacher.lesson(denial, policy)
            if isinstance(lesson, Obstacle):
                self._obstacles[lesson] = None
            elif self._has(lesson):
                self._obstacles[Obstacle(str(denial), _still(lesson, denial.target))] = None
            else:
                found.append(lesson)
        return found

    def _add(self, learnt: Iterable[Grant]) -> bool:
        """Whether there was anything new that a policy can have."""
        added = False
        for grant in learnt:
            if self._has(grant):
                continue
            others = (each for each in self.grants if each.identity != grant.identity)
            wider = self._teacher.gathered((*others, replace(grant, why=f"round {self._rounds}: {grant.why}")))
            if self._is_possible(grant, wider):
                self.grants, added = wider, True
                self._tell(f"round {self._rounds}: granting {_named(grant)}, because {grant.why}")
        return added

    def _has(self, grant: Grant) -> bool:
        return any((each.key, each.value) == (grant.key, grant.value) or covers(each, grant) for each in self.grants)

    def _is_possible(self, grant: Grant, grants: Iterable[Grant]) -> bool:
        try:
            policy = self._policy(grants)
        except PolicyError as error:
            self._beyond = error
            return False
        try:
            compile_plan(policy, "kernel")
        except PolicyError as error:
            self._obstacles[Obstacle(_named(grant), display(str(error), limit=1000, one_line=True))] = None
            return False
        return True

    def _enough(self, grant: Grant, instead: tuple[Grant, ...]) -> bool:
        """Try this grant's replacement, and keep to it if the script passes."""
        self._trials += 1
        grants = (*(each for each in self.grants if each is not grant), *instead)
        passed = self._script.replay(self._policy(grants)).passed
        self.grants = grants if passed else self.grants
        return passed


_DIFFERS = "it does something else from run to run, or makes a socket and connects it with nothing"
_UNKNOWN = "see how it ended; what libraries are refused below Python is not always told"


def _still(grant: Grant, asked: str) -> str:
    """Why something may be refused although it is granted."""
    if grant.key == "network.allow":
        return "it is granted, and was refused for a reason that the log agex.network tells"
    if os.path.realpath(asked) != os.path.normpath(asked):
        return f"it is granted, but a worker does not see the symbolic link to it: have the script name {grant.value}"
    return "it is granted, and was refused again"


def _named(grant: Grant) -> str:
    return display(f"{grant.key} = {toml(grant.value)}", limit=600, one_line=True)
