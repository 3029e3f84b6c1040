"""The place of a call among those that called it and those that it calls: session, deadline, budget, what all have spent."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from agex.lineage import check_depth, least, session_below
from agex.options import Options
from agex_supervisor.loop import Budget, Spending
from agex_supervisor.model import TokenHandler, Usage

if TYPE_CHECKING:
    from agex.agent import Agent
    from agex.call import Call


class Kin:
    """What a call takes over from its parent, and what it knows of its children. Children may come from many threads."""

    def __init__(self, agent: Agent, options: Options, parent: Call | None) -> None:
        self.parent = parent
        self.namespace: str = agent.name if parent is None else f"{parent.kin.namespace}/{agent.name}"
        self.depth: int = 0 if parent is None else parent.kin.depth + 1
        check_depth(self.depth, self.namespace)
        self.parent_event: str | None = None if parent is None else parent.current_event
        inherits = parent is not None and not options.named
        self.session: str = (
            session_below(parent.session, agent.name) if inherits and parent else options.session_of_tenant
        )
        timeout_s = options.timeout_s if options.timeout_s is not None else agent.task_timeout_s
        own = None if timeout_s is None else time.monotonic() + timeout_s
        self.deadline: float | None = least(own, None if parent is None else parent.deadline)
        self.on_token: TokenHandler | None = options.on_token or (None if parent is None else parent.on_token)
        self.priced: bool = agent.priced or (parent is not None and parent.kin.priced)
        self.budget: Budget = self._budget(agent, options)
        self._keeps_heirs = parent is None or options.ephemeral
        self._lock = threading.Lock()
        self._ended = False
        self._children: list[Call] = []
        self._delegated = Spending()
        self._heirs: dict[tuple[int, str], tuple[Agent, str]] = {}
        if inherits and parent is not None:
            parent.kin.leave_heir(agent, self.session)

    def join(self, call: Call) -> None:
        """Its call begins: whoever ends the parent ends it."""
        if self.parent is not None:
            self.parent.kin.adopt(call)

    def leave(self, call: Call, usage: Usage) -> None:
        """Its call is over; what it used counts for the parent."""
        if self.parent is not None:
            self.parent.kin.release(call, self.spent(usage))

    def adopt(self, child: Call) -> None:
        with self._lock:
            self._children.append(child)
            ended = self._ended
        if ended:
            child.cancel()

    def release(self, child: Call, spent: Spending) -> None:
        with self._lock:
            self._children.remove(child)
            self._delegated = self._delegated + spent

    def cancel_children(self) -> None:
        """End those that run, and those that begin from now on."""
        with self._lock:
            self._ended = True
            children = list(self._children)
        for child in children:
            child.cancel()

    def delegated(self) -> Spending:
        """What sub-agents used that have ended."""
        return self._delegated

    def spent(self, usage: Usage) -> Spending:
        """What the call used itself, and its sub-agents by their own prices."""
        return Spending(usage, self.budget.cost(usage)) + self._delegated

    def leave_heir(self, agent: Agent, session: str) -> None:
        """Note the session of a sub-agent, which ends with that of the nearest call above whose session ends."""
        if self.parent is not None and not self._keeps_heirs:
            self.parent.kin.leave_heir(agent, session)
        else:
            with self._lock:
                self._heirs[id(agent), session] = (agent, session)

    def forget_heirs(self) -> None:
        """Let go of the sessions of sub-agents, where that of the call ended with it."""
        with self._lock:
            heirs, self._heirs = list(self._heirs.values()), {}
        for agent, session in heirs:
            agent.sessions.forget(session)

    def _budget(self, agent: Agent, options: Options) -> Budget:
        budget = agent.budget if options.max_actions is None else replace(agent.budget, max_actions=options.max_actions)
        if self.parent is None:
            return budget
        outer = self.parent.budget
        if not agent.priced:
            # Its cost is nobody's secret, but nobody said what it is: as if the parent had used the tokens itself.
            price_in, price_out, price_cached = outer.price_in, outer.price_out, outer.price_cached
            budget = replace(budget, price_in=price_in, price_out=price_out, price_cached=price_cached)
        spent = self.parent.kin.spent(self.parent.own_usage)
        tokens = spent.usage.input_tokens + spent.usage.output_tokens
        left = None if outer.max_tokens is None else max(0, outer.max_tokens - tokens)
        cost = None if outer.max_cost is None else max(0.0, outer.max_cost - spent.cost)
        return replace(budget, max_tokens=least(budget.max_tokens, left), max_cost=least(budget.max_cost, cost))
