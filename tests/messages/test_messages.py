"""The catalogue: every message that code asks for is there, and every message that is there is asked for."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from workshop_utils import messages
from workshop_utils.exercises import registry
from workshop_utils.messages import CatalogueError, UnknownMessageError, keys, language, read, say

PACKAGE = Path(messages.__file__).parents[1]


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "en").mkdir()
    (tmp_path / "fr").mkdir()
    (tmp_path / "en/a.toml").write_text('[a]\nhello = "hello {name}"\nsteps = ["one", "two"]\nonly = "english"\n')
    (tmp_path / "fr/a.toml").write_text('[a]\nhello = "bonjour {name} à vous"\n', encoding="utf-8")
    monkeypatch.setattr(messages, "FOLDER", tmp_path)
    monkeypatch.delenv("WORKSHOP_LANG", raising=False)
    messages._catalogue.cache_clear()
    yield tmp_path
    messages._catalogue.cache_clear()


@pytest.mark.usefixtures("catalogue")
def test_says() -> None:
    assert say("a.hello", name="you") == "hello you"
    assert say("a.steps.2") == "two"
    assert keys("a.steps") == ("a.steps.1", "a.steps.2")
    assert keys("a.s") == ()
    assert len(keys()) == 4


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize("lang", ["fr", "fr_CA", "FR-fr"])
def test_another_language_falls_back_to_english(monkeypatch: pytest.MonkeyPatch, lang: str) -> None:
    monkeypatch.setenv("WORKSHOP_LANG", lang)
    assert say("a.hello", name="toi") == "bonjour toi à vous"
    assert say("a.only") == "english"


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize("lang", ["", "de", "../en", "/etc", "."])
def test_an_unknown_language_is_english(monkeypatch: pytest.MonkeyPatch, lang: str) -> None:
    monkeypatch.setenv("WORKSHOP_LANG", lang)
    assert language() == "en"
    assert say("a.only") == "english"


@pytest.mark.usefixtures("catalogue")
def test_errors_name_the_key() -> None:
    with pytest.raises(UnknownMessageError, match=r"no message 'a.helo'.*did you mean 'a.hello'"):
        say("a.helo")
    with pytest.raises(CatalogueError, match=r"'a.hello' cannot be filled from \['nom'\].*name"):
        say("a.hello", nom="x")


@pytest.mark.parametrize(
    ("text", "message"),
    [("a = ", "b.toml"), ("a = 3", "b.toml: a is not text"), ('[a]\nonly = "again"', "a.only is also in another file")],
)
def test_a_bad_catalogue_names_the_file(catalogue: Path, text: str, message: str) -> None:
    (catalogue / "en/b.toml").write_text(text)
    with pytest.raises(CatalogueError, match=message):
        read(catalogue / "en")


def fields(text: str) -> set[str]:
    return set(re.findall(r"(?<!{){(\w*)", text))


def test_translations_have_no_key_and_no_field_of_their_own() -> None:
    english = read(messages.FOLDER / "en")
    for lang in messages.languages():
        for key, text in read(messages.FOLDER / lang).items():
            assert key in english, f"{lang}: {key}"
            assert fields(text) == fields(english[key]), f"{lang}: {key}"


def pattern(node: ast.expr) -> str | None:
    """A regular expression of the keys that an expression can be; None for an expression that is not a text."""
    match node:
        case ast.Constant(value=str(text)):
            return re.escape(text)
        case ast.JoinedStr(values=parts):
            return "".join(p if (p := pattern(part)) is not None else r"[\w.]+" for part in parts)
    return None


def calls(tree: ast.AST, name: str) -> Iterator[tuple[str, int]]:
    """Patterns of the keys in calls name(key, ...), each with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=called), args=[key, *_]) if called == name and (text := pattern(key)):
                yield text, node.lineno


def asked_for() -> dict[str, str]:
    """Patterns of the keys that code asks for, each with its place: say(...) anywhere, Wrong(...) in a check."""
    found: dict[str, str] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        asked = list(calls(tree, "say"))
        if file.stem == "judging":
            asked += [
                (rf"exercises\.any\.wrong\.{key}", line) for key, line in [*calls(tree, "Wrong"), *outcomes(tree)]
            ]
        for node in tree.body if file.stem.startswith("lesson_") else []:
            if isinstance(node, ast.FunctionDef):
                name = node.name.removeprefix("check_")
                asked += [(rf"exercises\.({name}|any)\.wrong\.{key}", line) for key, line in calls(node, "Wrong")]
        found |= {key: f"{file.relative_to(PACKAGE)}:{line}" for key, line in asked}
    return found


def computed() -> set[str]:
    """A check may choose among its mistakes, Wrong(mistake): any text of its module can then be the key."""
    texts = set()
    for file in sorted((PACKAGE / "exercises").glob("lesson_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(rf"exercises\.\w+\.wrong\.{re.escape(node.value)}")
    return texts


def outcomes(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Name(id="Outcome"), args=[ast.Constant(value="wrong"), ast.Constant(value=str(key)), *_]
            ):
                yield key, node.lineno


def test_every_message_asked_for_is_there() -> None:
    names = {exercise.name for exercises in registry.lessons().values() for exercise in exercises}
    there = keys()
    missing = {place: key for key, place in asked_for().items() if not any(re.fullmatch(key, k) for k in there)}
    if not names:  # until the first exercise, no message fits the patterns of those that exercises bring
        missing = {place: key for place, key in missing.items() if not key.startswith(r"exercises\.[")}
    assert not missing


def test_every_message_there_is_asked_for() -> None:
    names = "|".join(exercise.name for exercises in registry.lessons().values() for exercise in exercises)
    patterns = [*asked_for(), rf"exercises\.({names})\.hints\.\d+", *computed()]
    assert [key for key in keys() if not any(re.fullmatch(p, key) for p in patterns)] == []
