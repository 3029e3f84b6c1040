import pytest

from agex.errors import ConfigurationError
from agex.llm import OpenAI, Scripted
from agex.llm.select import from_setting

REMEDY = (
    "give llm='openai:MODEL' or an agex.llm client, or set AGEX_MODEL=openai:MODEL and OPENAI_API_KEY "
    "(OPENAI_BASE_URL for a server of your own)"
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AGEX_MODEL", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_a_client_is_taken_as_it_is() -> None:
    llm = Scripted([])
    assert from_setting(llm) is llm


def test_a_name_makes_an_openai_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    client = from_setting("openai:llama3:8b")
    assert isinstance(client, OpenAI)
    assert client.model == "llama3:8b"


def test_the_environment_names_the_model_where_the_code_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("AGEX_MODEL", "openai:gpt-x")
    assert from_setting(None).model == "gpt-x"
    assert from_setting("openai:gpt-y").model == "gpt-y"


def test_no_model_at_all_names_the_variables_to_set() -> None:
    with pytest.raises(ConfigurationError) as raised:
        from_setting(None)
    assert str(raised.value) == f"no model: {REMEDY}"


@pytest.mark.parametrize("setting", ["gpt-x", "openai:", "other:gpt-x", ""])
def test_a_string_that_names_no_model_is_refused(setting: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        from_setting(setting)
    assert str(raised.value) == f"llm is {setting!r}, which names no model: {REMEDY}"


def test_a_variable_that_names_no_model_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGEX_MODEL", "gpt-x")
    with pytest.raises(ConfigurationError) as raised:
        from_setting(None)
    assert str(raised.value) == f"AGEX_MODEL is 'gpt-x', which names no model: {REMEDY}"


@pytest.mark.parametrize("llm", ["openai:gpt-x", OpenAI("gpt-x")], ids=str)
def test_a_missing_key_is_found_before_anything_is_asked(llm: object) -> None:
    with pytest.raises(ConfigurationError, match="^no API key for 'gpt-x': set OPENAI_API_KEY"):
        from_setting(llm)


def test_what_is_no_client_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="llm is a string or has model, complete and acomplete; int has not"):
        from_setting(5)
