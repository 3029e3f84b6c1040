"""First form."""
from __future__ import annotations
import ast
from agex_protocol.plan import SandboxPlan
def rewrite(tree: ast.Module, plan: SandboxPlan, source: str, filename: str) -> None:
    """Nothing yet."""
