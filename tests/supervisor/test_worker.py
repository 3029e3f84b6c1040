"""One worker from outside: how it answers, and that whatever hostile code does to it ends it and nothing else."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agex_protocol import messages as m
from agex_protocol.errors import FrameTooLarge
from agex_protocol.plan import LockdownPlan
from agex_supervisor.death import Death
from agex_supervisor.errors import WorkerFailed
from agex_supervisor.host_calls import answer
from agex_supervisor.slot import MemorySlot
from agex_supervisor.wire import wait_readable
from agex_supervisor.worker import Worker

Hire = Callable[..., Any]
Limited = Callable[..., LockdownPlan]


def never(call: m.Call, values: list[Any]) -> Iterable[object]:
    raise AssertionError(f"{call.name} was called")


def much(call: m.Call, values: list[Any]) -> Iterable[object]:
    return answer(call.action, call.call, bytes(512 << 20))


FUNCTION = (m.HostFunction("ask", "", ()),)


def test_an_action_gives_its_ending_its_output_and_what_it_used(hire: Hire) -> None:
    turn = hire().run("import sys; print('out'); print('err', file=sys.stderr); sum(range(10))")
    assert (turn.ending.value, turn.head, turn.death) == (m.Encoded(b"\x2d"), b"\x2d", None)
    assert (turn.stdout, turn.stderr) == ("out\n", "err\n")
    assert turn.wall_s > 0 and turn.peak_rss_bytes > 1 << 20


def test_a_worker_is_stopped_between_its_actions_and_goes_on_with_the_next(hire: Hire) -> None:
    worker = hire()
    code = "import threading; threading.Thread(target=lambda: [None for _ in iter(int, 1)], daemon=True).start()"
    assert worker.run(code).death is None
    with open(f"/proc/{worker.worker.pid}/stat", encoding="ascii") as stat:
        assert stat.read().rsplit(")", 1)[1].split()[0] in "TR"  # T once every thread has seen the signal
    assert worker.value("1 + 1") == 2


def test_output_of_an_action_that_is_over_is_not_told_of_the_next(hire: Hire) -> None:
    worker = hire()
    work = worker.workspace
    worker.run(
        "import os, threading\nos.mkdir('wait')\ndef late():\n    while os.path.exists('wait'): pass\n"
        "    os.write(1, b'late')\n    os.mkdir('done')\nthreading.Thread(target=late).start()"
    )
    (work / "wait").rmdir()
    # It was stopped with the action; as if the signal had come later than its last words.
    os.kill(worker.worker.pid, signal.SIGCONT)
    while not (work / "done").exists():
        pass
    assert worker.run("print('mine')").stdout == "mine\n"


HOSTILE = {
    "garbage": ("write(b'\\xc1' * 64)", "a frame of 3250700737 bytes was announced; the cap is 4194304"),
    "no message": ("write(struct.pack('<I', 3) + b'abc')", "a frame is not msgpack within the caps: ExtraData"),
    "4 GiB length": ("write(b'\\xff' * 4)", "a frame of 4294967295 bytes was announced; the cap is 4194304"),
    "a zygote's word": (
        "send('Reaped', 1, 0, 0.0, 0)",
        "a message of kind 'Reaped' has no place here",
    ),
    "ready again": ("send('Ready', 1, [], [])", "Ready while running"),
    "begun again": ("send('Begun', '')", "Begun while running"),
    "forged action": (
        "send('Finished', b'x' * 16, [b'', 0, []])",
        "Finished for an action that is not under way",
    ),
    "call out of turn": ("send('Call', action, 2, 'ask', [])", "call 2 where 1 was due"),
    "wrong type": ("send('GaveUp', action, b'bytes')", "GaveUp.message: expected str, found bytes"),
    "not UTF-8": (
        "write(struct.pack('<I', 12) + b'\\x93\\xa6GaveUp\\xc4\\x00\\xa1\\xff')",
        "a frame is not msgpack within the caps: UnicodeDecodeError",
    ),
    "buffers that were not sent": (
        "send('Finished', action, [b'\\xc0', 3, []])",
        "3 buffers were announced, 0 came",
    ),
    "a buffer that does not end": (
        "send('Buffer', action, b'x', False); send('Finished', action, [b'\\xc0', 0, []])",
        "0 buffers were announced, 0 came",
    ),
    "a negative count": (
        "send('Finished', action, [b'\\xc0', -1, []])",
        "-1 buffers were announced, 0 came",
    ),
    "very many empty buffers": (
        "flood = frame('Buffer', action, b'', True) * 1000\nfor _ in range(66): write(flood)",
        "a value has more than 65536 buffers",
    ),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_bytes_that_break_the_rules_end_the_worker(attack: str, hire: Hire, channel_code: str) -> None:
    code, expected = HOSTILE[attack]
    worker = hire()
    turn = worker.run(channel_code + "print('before')\n" + code + "\nwhile True: pass")
    assert turn.death == Death("violation", expected)
    assert (turn.ending, turn.stdout) == (None, "before\n")
    assert not worker.worker.alive


def test_a_second_ending_ends_the_worker_when_it_is_next_asked(hire: Hire, channel_code: str) -> None:
    worker = hire()
    first = worker.run(channel_code + "write(frame('GaveUp', action, 'one') + frame('GaveUp', action, 'two'))")
    assert first.ending.message == "one"
    second = worker.run("1")
    assert second.death == Death("violation", "GaveUp for an action that is not under way")


FLOODS = {
    "buffers": "flood = frame('Buffer', action, b'', False) * 5000\nwhile True: write(flood)",
    "half a frame": "write(frame('GaveUp', action, 'x' * 100)[:50])\nwhile True: pass",
    "a dripped frame": (
        "import time\nfor byte in struct.pack('<I', 4 << 20) + bytes(4 << 20): write(bytes([byte])); time.sleep(0.001)"
    ),
    "output": "while True: os.write(1, b'x' * 65536)",
    "silence": "while True: pass",
    "sleep": "import time\nwhile True: time.sleep(1000)",
}


@pytest.mark.parametrize("flood", FLOODS)
def test_nothing_that_a_worker_sends_moves_its_deadline(flood: str, hire: Hire, channel_code: str) -> None:
    turn = hire().run(channel_code + FLOODS[flood], timeout_s=0.3)
    assert turn.death == Death("timeout", "the deadline of the action passed")


def test_a_worker_that_stops_itself_is_ended_at_its_deadline(hire: Hire) -> None:
    worker = hire()
    threading.Timer(0.1, lambda: os.kill(worker.worker.pid, signal.SIGSTOP)).start()
    assert worker.run("while True: pass", timeout_s=0.4).death.cause == "timeout"


def test_decoding_the_arguments_of_calls_does_not_move_the_deadline(hire: Hire) -> None:
    """A function's own time is the host's; what comes before it is caused by the worker alone."""

    calls: list[m.Call] = []

    def decode_for_long(call: m.Call, values: list[Any]) -> Iterable[object]:
        calls.append(call)
        threading.Event().wait(0.1)
        return answer(call.action, call.call)

    turn = hire(functions=FUNCTION).run("while True: ask()", timeout_s=0.5, on_call=decode_for_long)
    assert turn.death == Death("timeout", "the deadline of the action passed")
    assert len(calls) <= 5


def test_the_time_of_a_host_function_is_not_the_workers(hire: Hire) -> None:
    def run_for_long(call: m.Call, values: list[Any]) -> Iterable[object]:
        threading.Event().wait(1.0)
        yield from answer(call.action, call.call, "answer")

    turn = hire(functions=FUNCTION).run("ask()", timeout_s=0.8, on_call=run_for_long)
    assert turn.death is None and turn.head == b"\xa6answer"


def test_a_worker_that_closes_its_channel_and_goes_on_is_ended(hire: Hire, channel_code: str) -> None:
    turn = hire().run(channel_code + "os.close(channel)\nwhile True: pass")
    assert turn.death == Death("violation", "the worker closed its channel and went on running")


def test_a_worker_that_exits_is_told_with_its_status(hire: Hire) -> None:
    turn = hire().run("import os; print('bye'); os._exit(7)")
    assert turn.death == Death("exit", "the worker ended by itself with exit status 7")
    assert turn.stdout == "bye\n"


def test_a_stream_that_ends_inside_a_frame_is_told_as_that(hire: Hire, channel_code: str) -> None:
    turn = hire().run(channel_code + "write(frame('GaveUp', action, 'x')[:9]); os._exit(0)")
    assert turn.death == Death("violation", "the stream ended 9 bytes into a frame")


def test_a_crash_is_told_with_its_signal(hire: Hire) -> None:
    turn = hire().run("import ctypes; ctypes.string_at(1)")
    assert turn.death == Death("signal", "SIGSEGV: the worker crashed")


def test_a_call_that_the_filter_answers_with_death_is_told_as_that(hire: Hire, plan: LockdownPlan) -> None:
    code = "import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0)"
    why = "it called ptrace, which no policy allows and no library calls by accident"
    assert hire().run(code).death == Death("signal", f"seccomp: {why}")
    untold = hire(replace(plan, seccomp_told=b"")).run(code)
    assert untold.death is not None and untold.death.detail.startswith("SIGSYS: ")


def test_processor_time_that_is_used_up_is_told_as_that_limit(hire: Hire, limited: Limited) -> None:
    turn = hire(limited(cpu_time_s=1.0)).run("while True: pass")
    assert turn.death == Death("limit", "limits.cpu_time: 1s of processor time are used up")


def test_too_many_threads_are_seen_even_when_the_action_ends_at_once(hire: Hire, limited: Limited) -> None:
    code = "import threading\nfor _ in range(20): threading.Thread(target=threading.Event().wait, daemon=True).start()"
    turn = hire(replace(limited(threads=10), namespaces="off")).run(code)
    assert turn.ending is None
    assert turn.death is not None and turn.death.cause == "limit"  # how many had begun is the scheduler's choice
    assert re.fullmatch(r"limits\.threads: \d\d threads, 10 allowed", turn.death.detail)


def test_a_worker_with_a_user_of_its_own_cannot_start_more_threads_than_it_may(hire: Hire, limited: Limited) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a worker a user of its own")
    code = "import threading\nfor _ in range(20): threading.Thread(target=threading.Event().wait, daemon=True).start()"
    turn = hire(limited(threads=10)).run(code)
    assert isinstance(turn.ending, m.Raised) and turn.ending.message == "can't start new thread"


def test_death_while_large_inputs_are_sent_is_told_and_nothing_hangs(hire: Hire) -> None:
    worker = hire()
    os.kill(worker.worker.pid, signal.SIGSTOP)
    os.kill(worker.worker.pid, signal.SIGKILL)
    turn = worker.run("1", buffers=[bytes(32 << 20)])
    assert turn.death.cause == "signal" and turn.death.detail.startswith("SIGKILL, ")


def test_a_worker_that_does_not_take_its_inputs_is_ended_at_its_deadline(hire: Hire) -> None:
    worker = hire()

    def stopping() -> Iterable[bytes]:
        yield b"first"
        os.kill(worker.worker.pid, signal.SIGSTOP)
        yield bytes(32 << 20)

    assert worker.run("1", buffers=stopping(), timeout_s=0.4).death.cause == "timeout"


def test_a_worker_that_dies_during_a_host_call_does_not_hang_its_answer(hire: Hire) -> None:
    worker = hire(functions=FUNCTION)

    def kill(call: m.Call, values: list[Any]) -> Iterable[object]:
        os.kill(worker.worker.pid, signal.SIGKILL)
        yield from answer(call.action, call.call, bytes(8 << 20))

    assert worker.run("ask()", on_call=kill).death.cause == "signal"


def test_code_without_memory_for_an_answer_is_told_so_and_its_worker_not_used_again(
    hire: Hire, limited: Limited
) -> None:
    worker = hire(limited(memory_bytes=256 << 20), functions=FUNCTION)
    turn = worker.run("ask()", on_call=much)
    assert (type(turn.ending), turn.ending.type, turn.death) == (m.Raised, "MemoryError", None)
    assert not worker.worker.alive


def test_asking_again_before_an_answer_was_read_ends_the_worker(hire: Hire, channel_code: str) -> None:
    worker = hire(functions=FUNCTION)
    code = channel_code + "send('Call', action, 1, 'ask', [])\nsend('Call', action, 2, 'ask', [])\nwhile True: pass"
    turn = worker.run(code, on_call=much)
    assert turn.death == Death("violation", "Call before it had read all that it was sent")


def test_a_worker_that_dies_before_it_is_looked_at_is_told_as_that(hire: Hire, plan: LockdownPlan) -> None:
    living = hire().worker
    zygote = living.zygote
    born = zygote.fork(1 << 40, Path("/"))
    assert wait_readable(born.channel.fileno(), time.monotonic() + 60)  # it has handed its listener over
    os.kill(born.pid, signal.SIGKILL)
    assert wait_readable(born.pidfd, time.monotonic() + 60)
    zygote.reap(born.serial)
    worker = Worker(zygote, born, MemorySlot(born.files, None), plan, [])
    with pytest.raises(WorkerFailed, match="the worker died before its process id could be read") as caught:
        worker.await_ready()
    assert caught.value.reason == "start" and not worker.alive
    worker.slot.remove()


def test_an_error_in_the_supervisor_in_the_middle_of_an_action_closes_the_worker(hire: Hire) -> None:
    def interrupted(call: m.Call, values: list[Any]) -> Iterable[object]:
        raise KeyboardInterrupt

    worker = hire(functions=FUNCTION)
    with pytest.raises(KeyboardInterrupt):
        worker.run("ask()", on_call=interrupted)
    assert not worker.worker.alive


def test_code_that_fits_into_no_frame_is_refused_and_the_worker_closed(hire: Hire) -> None:
    worker = hire()
    with pytest.raises(FrameTooLarge):
        worker.run("#" * (5 << 20))
    assert not worker.worker.alive


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_cancel_from_another_thread_ends_it_as_cancelled(when: str, hire: Hire) -> None:
    worker = hire(functions=FUNCTION)
    cancel = threading.Thread(target=worker.worker.cancel)

    def during(call: m.Call, values: list[Any]) -> Iterable[object]:
        cancel.start()
        yield from answer(call.action, call.call)

    if when == "before":
        cancel.start()
        cancel.join()
    elif when == "after":
        assert worker.run("1").death is None
        cancel.start()
        cancel.join()
    turn = worker.run("ask()\nwhile True: pass", on_call=during)
    cancel.join()
    assert turn.death == Death("cancelled", "cancelled by the caller")


def test_the_first_cause_of_death_is_kept(hire: Hire) -> None:
    worker = hire().worker
    worker.kill("limit", "first")
    worker.cancel()
    worker.close()
    worker.kill("violation", "last")
    turn = worker.run(m.Run(b"a", "1", m.Encoded(b""), b"", False), [], timeout_s=1, on_call=never)
    assert turn.death == Death("limit", "first")


def test_cancelling_while_it_is_closed_never_signals_another_process(hire: Hire) -> None:
    for _ in range(20):
        worker = hire().worker
        threads = [threading.Thread(target=worker.cancel) for _ in range(4)]
        for thread in threads:
            thread.start()
        worker.close()
        for thread in threads:
            thread.join()
        assert not worker.alive
