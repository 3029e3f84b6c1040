"""What the model sees of an action: its output, then how it ended. Bounded, and free of terminal controls."""

from __future__ import annotations

from agex_supervisor.display import display
from agex_supervisor.execution import Executed

MAX_OUTPUT_CHARS = 16_000
MAX_ERROR_CHARS = 8_000


def observed(executed: Executed) -> str:
    """The text of one observation."""
    parts: list[str] = []
    if executed.stdout:
        parts.append(display(executed.stdout, limit=MAX_OUTPUT_CHARS).rstrip("\n"))
    if executed.stderr:
        parts.append("[stderr]\n" + display(executed.stderr, limit=MAX_OUTPUT_CHARS // 4).rstrip("\n"))
    match executed.kind:
        case "raised":
            assert executed.error is not None
            parts.append(
                display(executed.error.traceback or executed.error.message, limit=MAX_ERROR_CHARS).rstrip("\n")
            )
        case "mismatch":
            assert executed.error is not None
            parts.append(f"task_success was refused: {display(executed.error.message, limit=MAX_ERROR_CHARS)}")
        case "died":
            assert executed.death is not None
            parts.append(
                f"The process that ran this action was ended ({executed.death.cause}: {executed.death.detail})."
                " The next action gets a new one; files in the workspace are still there."
            )
        case _ if executed.text or executed.exit_code:
            if executed.text:
                parts.append(executed.text)
            if executed.exit_code:
                parts.append(f"[exit code {executed.exit_code}]")
        case _:
            if not parts and not executed.images:
                parts.append("(no output; print what you want to see, and call task_success(value) to finish)")
    parts += [f"[view_image: {image}]" for image in executed.images]
    return "\n".join(parts)
