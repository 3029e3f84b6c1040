"""The policy in force in plain words, from the Policy itself: what the model has to know of it."""

from __future__ import annotations

import os

from agex.prompt import policy_text
from agex_policies.grants import parse_grant, target
from agex_policies.schema import Policy
from agex_protocol.plan import Isolation, Limits


def policy_words(policy: Policy, isolation: Isolation, limits: Limits) -> str:
    """What this policy gives and forbids; nothing of it is said that this isolation does not give."""
    grants = [parse_grant(grant.model_dump()) for grant in policy.network.allow] if isolation == "kernel" else []
    # Behind the inner sandbox code opens workspace files only; what else is granted is for libraries.
    opens = isolation == "kernel" and policy.python.mode == "full"
    calls = policy.host_calls
    bounds = [each for each in (calls.max_rate, calls.max_bytes) if each is not None]
    return policy_text(
        policy=policy.name,
        isolation=isolation,
        limits=limits,
        read=policy.filesystem.read if opens else (),
        write=policy.filesystem.write if opens else (),
        network=[target(grant.host, grant.port) for grant in grants],
        environment=[] if isolation == "none" else [name for name in policy.env.passed if name in os.environ],
        calls=" and ".join(bounds) if isolation != "none" else "",
    )
