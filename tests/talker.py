"""An agent that runs the scripts it is given, and gives back what its model would have observed of each."""

from __future__ import annotations

from typing import Any

import agex
from agex.llm import Scripted
from agex_supervisor.cache import Cache
from agex_supervisor.model import Observation, Request


class Talker:
    """An agent and what its model is shown; each call is one task of the session, whose scripts may be several."""

    def __init__(self, pool: agex.Pool, isolation: str, policy: Any = "default") -> None:
        self.agent = agex.Agent(
            llm=Scripted([]), isolation=isolation, policy=policy, pool=pool, max_actions=9, action_timeout_s=60
        )

    def __call__(self, *scripts: str, session: str = "default") -> list[str]:
        """One task of the session: what was observed of each script."""
        self.requests: list[Request] = []
        turns = iter([*scripts, "task_success(None)"])

        def reply(request: Request) -> str:
            self.requests.append(request)
            return next(turns)

        self.agent._llm = Scripted([reply] * (len(scripts) + 1))

        @self.agent.task
        def work() -> object:
            """Work."""
            raise NotImplementedError

        work.with_options(session=session)()
        return [each.texts[0] for each in self.requests[-1].messages if isinstance(each, Observation)]

    @property
    def cache(self) -> Cache:
        stay = self.agent.sessions.acquire("default")
        self.agent.sessions.release("default")
        return stay.cache

    def close(self) -> None:
        self.agent.close()
