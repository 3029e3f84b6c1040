"""view_image in agent code, and how what it shows reaches a model: seen, or told where a model does not see."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Literal

import PIL.Image
import plotly.graph_objects
import pytest

import agex
from agex.llm import (
    AssistantMessage,
    Fault,
    Observation,
    OpenAI,
    Parameter,
    PythonAction,
    Request,
    Scripted,
    Tool,
    UserMessage,
    scripted_server,
)
from agex_supervisor.loop import MAX_IMAGES
from agex_supervisor.png import Image, png
from agex_worker.viewing import png_of
from tests.talker import Talker

MODES = ("none", "process", "kernel")
TOOLS = (Tool("python_action", "Run Python.", (Parameter("code", "string", "the code"),)),)


def picture(color: str = "red", size: tuple[int, int] = (4, 3)) -> Image:
    file = io.BytesIO()
    PIL.Image.new("RGB", size, color).save(file, "PNG")
    return png(file.getvalue())


RED, BLUE = picture("red"), picture("blue")
PAST = Request(
    "s",
    (
        UserMessage("go"),
        AssistantMessage("", (PythonAction("view_image(a)"),)),
        Observation(("[view_image: image, 4 x 3, RGB]",), (RED, BLUE)),
        UserMessage("a note"),
    ),
    TOOLS,
)


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(max_workers=4, spares=0)
    yield pool
    pool.close()


@pytest.fixture(params=MODES)
def talk(request: pytest.FixtureRequest, pool: agex.Pool) -> Iterator[Talker]:
    talker = Talker(pool, request.param)
    talker.agent.module(PIL.Image)
    talker.agent.module(plotly.graph_objects)
    yield talker
    talker.close()


def seen_by(talker: Talker) -> list[Image]:
    return [image for each in talker.requests[-1].messages if isinstance(each, Observation) for image in each.images]


def test_an_image_is_in_the_observation_of_its_action_and_told_in_words(talk: Talker) -> None:
    told = talk(
        "import PIL.Image\nprint('look')\nview_image(PIL.Image.new('RGB', (40, 30), 'red'))",
        "import PIL.Image\nview_image(PIL.Image.new('L', (2, 2)))",
    )
    assert told == ["look\n[view_image: image, 40 x 30, RGB]", "[view_image: image, 2 x 2, grey]"]
    first, second = seen_by(talk)
    assert PIL.Image.open(io.BytesIO(first.data)).getpixel((0, 0)) == (255, 0, 0)
    assert (second.width, second.height) == (2, 2)
    assert "[image, 40 x 30, RGB]" in str(talk.requests[-1])


def test_a_large_image_is_scaled_down_and_crosses_whole(talk: Talker) -> None:
    talk("import PIL.Image\nview_image(PIL.Image.effect_noise((3000, 1000), 80))")
    (image,) = seen_by(talk)
    assert (image.width, image.height) == (1568, 523) and len(image.data) > 256 << 10


def test_a_script_shows_so_many_and_a_task_so_many(talk: Talker) -> None:
    script = "import PIL.Image\nfor _ in range(8):\n    view_image(PIL.Image.new('L', (1, 1)))"
    (told,) = talk(script.replace("8", "9"))
    assert "ValueError: view_image() shows 8 images a script" in told and len(seen_by(talk)) == 8
    *_, told = talk(script, script, script)
    assert len(seen_by(talk)) == MAX_IMAGES
    assert told.endswith("\n[4 of these are not shown: a task has 20 images at most]")


def test_what_cannot_be_shown_is_an_error_that_says_what_can(talk: Talker) -> None:
    told = talk(
        "for it in (3, 'a.png', None):\n    try:\n        view_image(it)\n    except TypeError as error:\n        print(error)"
    )
    tail = "; of an array: PIL.Image.fromarray(array)"
    assert told[0].splitlines() == [
        f"view_image() takes a PIL image or a figure of matplotlib or plotly, not {kind}{tail}"
        for kind in ("int", "str", "NoneType")
    ]


def test_no_browser_is_started_for_a_plotly_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("to_image", "write_image", "show", "full_figure_for_development"):
        monkeypatch.setattr(plotly.graph_objects.Figure, name, pytest.fail)
    assert png_of(plotly.graph_objects.Figure()).startswith(b"\x89PNG")


def test_a_plotly_figure_is_seen(talk: Talker) -> None:
    told = talk(
        "import plotly.graph_objects as go\n"
        "view_image(go.Figure(go.Bar(x=['a', 'b'], y=[1, 3], marker_color='red'), layout={'width': 300, 'height': 200}))",
        "import plotly.graph_objects as go\nview_image(go.Figure(go.Sankey()))",
    )
    assert told[0] == "[view_image: image, 300 x 200, RGB with alpha]"
    assert "TypeError: a plotly figure is drawn by matplotlib here, which draws scatter, bar," in told[1]
    assert ", and not sankey; draw the same with matplotlib, or return the figure as the result" in told[1]
    (image,) = seen_by(talk)
    seen = PIL.Image.open(io.BytesIO(image.data)).convert("RGB")
    # The second bar is three times as high.
    high = [sum(seen.getpixel((x, y)) == (255, 0, 0) for y in range(200)) for x in (90, 220)]
    assert high[1] == pytest.approx(3 * high[0], abs=4) and high[0] > 20


def test_a_matplotlib_figure_is_drawn_in_a_worker(pool: agex.Pool) -> None:
    talker = Talker(pool, "kernel", "full-python")
    told = talker(
        "import matplotlib.pyplot as plt\nfigure, axes = plt.subplots()\naxes.plot([1, 2])\nview_image(figure)\nview_image(axes)"
    )
    assert told == ["[view_image: image, 640 x 480, RGB with alpha]\n[view_image: image, 640 x 480, RGB with alpha]"]
    talker.close()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "F", "HSV", "LAB"])
def test_an_image_of_every_mode_has_a_png_file_with_nothing_else_in_it(mode: str) -> None:
    image = PIL.Image.new(mode, (5, 4))
    image.info |= {"icc_profile": b"profile", "exif": b"exif", "comment": "secret"}
    assert (png(png_of(image)).width, png(png_of(image)).height) == (5, 4)


def test_an_image_without_pixels_is_an_error() -> None:
    with pytest.raises(ValueError, match="no pixels"):
        png_of(PIL.Image.new("RGB", (0, 4)))


# --- on the wire ---


def url_of(image: Image) -> str:
    return "data:image/png;base64," + base64.b64encode(image.data).decode()


SHOWN = [
    {"type": "text", "text": "What view_image showed, in its order:"},
    {"type": "image_url", "image_url": {"url": url_of(RED)}},
    {"type": "image_url", "image_url": {"url": url_of(BLUE)}},
]


def test_images_follow_the_answer_to_their_call_in_a_user_message() -> None:
    with scripted_server(["pass"]) as url:
        OpenAI("m", base_url=url).complete(PAST)
        messages = url.requests[0]["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "tool", "user"]
    assert messages[-1]["content"] == [*SHOWN, {"type": "text", "text": "a note"}]


def test_with_fenced_blocks_images_follow_the_results() -> None:
    with scripted_server(["pass"]) as url:
        OpenAI("m", base_url=url, tools="off").complete(PAST)
        messages = url.requests[0]["messages"]
    results = {"type": "text", "text": "[result 1 (python_action)]\n[view_image: image, 4 x 3, RGB]"}
    assert messages[-1]["content"] == [results, *SHOWN, {"type": "text", "text": "a note"}]


@pytest.mark.parametrize("tools", ["on", "off"])
def test_images_after_a_note_are_in_the_message_with_the_note(tools: Literal["on", "off"]) -> None:
    request = Request("s", (UserMessage("go"), UserMessage("a note"), Observation((), (RED, BLUE))), TOOLS)
    with scripted_server(["pass"]) as url:
        OpenAI("m", base_url=url, tools=tools).complete(request)
        messages = url.requests[0]["messages"]
    assert [message["role"] for message in messages] == ["system", "user"]
    assert messages[-1]["content"] == [{"type": "text", "text": "go\n\na note"}, *SHOWN]


def test_what_setup_code_shows_is_seen_with_its_output(talk: Talker) -> None:
    requests: list[Request] = []

    def reply(request: Request) -> str:
        requests.append(request)
        return "task_success(1)"

    talk.agent._llm = Scripted([reply])

    @talk.agent.task(setup="import PIL.Image\nview_image(PIL.Image.new('RGB', (40, 30), 'red'))")
    def look() -> int:
        """Look."""
        raise NotImplementedError

    assert look() == 1
    _, note, shown = requests[0].messages
    assert isinstance(note, UserMessage) and note.text.endswith("[view_image: image, 40 x 30, RGB]")
    assert isinstance(shown, Observation) and [(each.width, each.height) for each in shown.images] == [(40, 30)]


def test_a_scripted_server_shows_its_callables_the_images() -> None:
    seen: list[Request] = []

    def reply(request: Request) -> str:
        seen.append(request)
        return "pass"

    with scripted_server([reply]) as url:
        OpenAI("m", base_url=url).complete(Request("s", PAST.messages[:-1], TOOLS))
    assert seen[0].messages == PAST.messages[:-1]


@pytest.mark.parametrize("message", ["image_url is not supported by this model", "This model does not accept images"])
def test_a_server_that_does_not_see_is_sent_words_alone_from_then_on(message: str) -> None:
    with scripted_server([Fault(status=400, message=message), "one()", "two()"]) as url:
        client = OpenAI("m", base_url=url)
        client.complete(PAST)
        client.complete(PAST)
        bodies = url.requests
    assert [type(body["messages"][-1]["content"]) for body in bodies] == [list, str, str]
    assert bodies[1]["messages"][-1]["content"] == "a note"
