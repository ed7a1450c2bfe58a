"""Configuration: every mistake is reported with its line, and secrets stay out of sight."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.settings import NO_PROVIDER, Settings, SettingsError, load

ENV = {"OPENAI_KEY": "sk-very-secret", "APP_KEY": "ocho-app-key"}


def written(folder: Path, text: str) -> Path:
    path = folder / "ocho.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def complaint(folder: Path, text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load(written(folder, text), environ or ENV)
    return str(caught.value)


MODEL = """
models:
  - name: gpt-4o
    deployments:
      - {name: main, base_url: "https://api.example.com/v1", api_key: "${OPENAI_KEY}"}
"""


def test_the_shape_of_the_design_is_read(tmp_path: Path) -> None:
    made = load(
        written(
            tmp_path,
            """
server:   {host: 0.0.0.0, port: 8080, drain_s: 30, max_body_mb: 10}
auth:     {keys: [{key: ${APP_KEY}, tenant: app1}]}
models:
  - name: gpt-4o
    deployments:
      - {name: krc, kind: azure, base_url: https://x.openai.azure.com/, deployment: gpt-4o, api_version: 2024-10-21,
         api_key: ${OPENAI_KEY}}
    fallbacks: [gpt-4o-mini]
  - {name: gpt-4o-mini, deployments: [{name: mini, base_url: "http://localhost:1/v1"}]}
  - {name: handbook, answers_with: gpt-4o, documents: {collections: [hr]}}
documents:
  - {name: hr}
""",
        ),
        ENV,
    )
    azure = made.models[0].deployments[0]
    assert azure.api_version == "2024-10-21"  # not a date
    assert azure.base_url == "https://x.openai.azure.com"
    assert azure.api_key.get_secret_value() == "sk-very-secret"  # unquoted in a flow mapping
    assert made.auth.keys[0].key.get_secret_value() == "ocho-app-key"
    assert (made.host, made.server.port) == ("0.0.0.0", 8080)
    assert [m.caches for m in made.models] == [False, False, True]


def test_every_mistake_is_told_at_once_each_with_its_line(tmp_path: Path) -> None:
    told = complaint(
        tmp_path,
        """server: {port: 99999, hots: x}
models:
  - name: a
    deployment: []
  - name: b
    deployments:
      - name: d
        base_url: ftp://nowhere
        kind: bedrock
cache:
  ttl_s: -1
""",
    ).splitlines()
    expected = (
        (1, "server.port"), (1, "server.hots"), (4, "models.0.deployment"), (8, "base_url"), (9, "kind"), (11, "ttl_s")
    )  # fmt: skip
    for line, what in expected:
        assert any(f"ocho.yaml: line {line}: " in one and what in one for one in told), (line, what, told)


def test_an_unknown_key_names_the_known_ones(tmp_path: Path) -> None:
    told = complaint(tmp_path, MODEL + "cache: {tll_s: 5}")
    assert "unknown key 'cache.tll_s'" in told
    assert "ttl_s" in told.split("known keys:")[1]
    told = complaint(tmp_path, MODEL.replace("name: main,", "name: main, bas_url: x,"))
    assert "line 5: unknown key 'models.0.deployments.0.bas_url'; known keys: api_key, api_version, base_url" in told


def test_a_mirror_needs_an_external_collection_and_is_none_itself(tmp_path: Path) -> None:
    told = complaint(
        tmp_path,
        """models:
  - {name: gpt-4o, deployments: [{name: d, base_url: "http://a"}]}
  - {name: handbook, answers_with: gpt-4o, documents: {collections: [wiki, second]}}
documents:
  - {name: hr}
  - {name: wiki, kind: http, url: "http://a"}
  - {name: second, kind: http, url: "http://b", mirror_of: wiki}
  - {name: third, kind: http, url: "http://c", mirror_of: hr}
  - {name: fourth, kind: http, url: "http://d", mirror_of: second}
""",
    )
    assert "'hr' is no external" in told
    assert "'second' is no external" in told
    assert "uses collection 'second'" in told
    assert "'wiki' is no external" not in told


def test_names_that_do_not_meet_are_told_with_the_lines_they_stand_on(tmp_path: Path) -> None:
    told = complaint(
        tmp_path,
        """models:
  - name: gpt-4o
    deployments: [{name: d, base_url: "http://a"}]
    fallbacks:
      - nobody
  - name: gpt-4o
    deployments: [{name: d, base_url: "http://b"}]
  - name: handbook
    answers_with: gpt-5
    documents:
      collections: [hr, typo]
documents: [{name: hr}]
auth:
  keys:
    - {key: same-key-1234, tenant: a}
    - {key: same-key-1234, tenant: b}
cache:
  store: redis
  semantic: {embedder: missing}
""",
    ).splitlines()
    expected = (
        (5, "'nobody'"), (6, "model 'gpt-4o' is named twice"), (7, "deployment 'd' is named twice"), (9, "'gpt-5'"),
        (11, "'typo'"), (16, "same key twice"), (18, "REDIS_URL"), (19, "'missing'"),
    )  # fmt: skip
    for line, what in expected:
        assert any(f"ocho.yaml: line {line}: " in one and what in one for one in told), (line, what, told)
    assert not any("same-key-1234" in one for one in told)


def test_a_key_that_stands_twice_is_a_mistake(tmp_path: Path) -> None:
    told = complaint(tmp_path, MODEL + "cache: {ttl_s: 1}\nserver: {port: 1}\ncache: {ttl_s: 2}\n")
    assert "ocho.yaml: line 8: 'cache' stands here again, after line 6" in told


def test_references_are_filled_in_and_missing_ones_told_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("from-a-file\n", encoding="utf-8")
    text = MODEL.replace("${OPENAI_KEY}", "${file:key.txt}").replace("api.example.com", "${HOST:-fallback.example}")
    made = load(written(tmp_path, text + "server: {port: ${PORT}}\n"), {"PORT": "9090"})
    assert made.models[0].deployments[0].api_key.get_secret_value() == "from-a-file"
    assert made.models[0].deployments[0].base_url == "https://fallback.example/v1"
    assert made.server.port == 9090
    told = complaint(tmp_path, MODEL + "data_dir: ${DATA}\ncache: {secret: '${file:nowhere}'}\n", {"X": "1"})
    assert "line 5: the environment variable OPENAI_KEY is not set" in told
    assert "line 6: the environment variable DATA is not set" in told
    assert "line 7: the file nowhere cannot be read (No such file or directory)" in told


def test_a_value_from_the_environment_is_never_read_as_yaml(tmp_path: Path) -> None:
    hostile = "x: [1, 2]  # \n'\""
    made = load(written(tmp_path, MODEL), {"OPENAI_KEY": hostile})
    assert made.models[0].deployments[0].api_key.get_secret_value() == hostile
    assert load(written(tmp_path, MODEL + "# ${UNSET} in a comment\n"), ENV)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1, 2]", "must hold sections"),
        ("just words", "must hold sections"),
        ("models: [", "line 1: is not YAML"),
        ("a: &a [*a]", "nested without end"),
        ("models: gpt-4o", "models"),
        ("models: [{name: a}]", "give either deployments or answers_with"),
        ("? [a, b]\n: c", "is not YAML"),
        ("1: 2", "1"),
        ("\ttabs: x", "is not YAML"),
        ("auth: {keys: [{key: short, tenant: a}]}", "a key needs at least 8 characters"),
        ("[" * 3000, "is n"),
    ],
)
def test_files_that_are_no_configuration_get_one_clear_line(tmp_path: Path, text: str, told: str) -> None:
    assert told in complaint(tmp_path, text, {"OPENAI_API_KEY": "sk-1"})


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.yaml: cannot be read \(No such file"):
        load(tmp_path / "nowhere.yaml", ENV)
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path, ENV)
    (tmp_path / "ocho.yaml").write_bytes(b"models: \xff\xfe")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load(tmp_path / "ocho.yaml", ENV)


def test_secrets_show_up_in_no_representation_and_no_complaint(tmp_path: Path) -> None:
    keys = "auth: {keys: [{key: ${APP_KEY}, tenant: a}], admin_key: ${APP_KEY}-2}\n"
    text = MODEL + keys + "cache: {secret: ${APP_KEY}}\n"
    made = load(written(tmp_path, text), ENV | {"REDIS_URL": "redis://:pass-of-redis@r/0"})
    for shown in (repr(made), str(made), made.model_dump_json()):
        assert not any(secret in shown for secret in ("sk-very-secret", "ocho-app-key", "pass-of-redis"))
    for broken in (
        MODEL.replace("name: main", "name: [1]"),
        MODEL.replace('"${OPENAI_KEY}"', "{a: ${OPENAI_KEY}}"),
        MODEL.replace('"${OPENAI_KEY}"', "sk-very-secret: x"),
        MODEL + "auth: {keys: [{key: [sk-very-secret], tenant: a}]}",
    ):
        assert "sk-very-secret" not in complaint(tmp_path, broken)


def test_no_file_at_all_takes_the_provider_from_the_environment() -> None:
    openai = load(None, {"OPENAI_API_KEY": "sk-1"})
    assert [(m.name, m.deployments[0].base_url) for m in openai.models] == [("*", "https://api.openai.com/v1")]
    other = load(None, {"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": "http://localhost:8000/v1/"})
    assert other.models[0].deployments[0].base_url == "http://localhost:8000/v1"
    azure = load(None, {"AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com/", "AZURE_OPENAI_API_KEY": "k"})
    assert (azure.models[0].deployments[0].kind, azure.models[0].deployments[0].api_version) == ("azure", "2024-10-21")
    assert openai.host == "127.0.0.1"  # no keys: not for the network
    redis = load(None, {"OPENAI_API_KEY": "sk-1", "REDIS_URL": "redis://r:6379/0"})
    assert redis.cache.redis.url.get_secret_value() == "redis://r:6379/0"


def test_no_provider_at_all_gives_the_three_ways(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(None, {})
    assert str(caught.value) == NO_PROVIDER
    with pytest.raises(SettingsError, match="no provider is configured"):
        load(written(tmp_path, "cache: {ttl_s: 5}"), {})
    assert load(None, {}, needs_models=False).models == ()


def test_mistakes_in_the_environment_name_the_variable() -> None:
    with pytest.raises(SettingsError, match="OCHO_PORT"):
        load(None, {"OPENAI_API_KEY": "sk-1", "OCHO_PORT": "eighty"})
    with pytest.raises(SettingsError, match="OPENAI_BASE_URL"):
        load(None, {"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": "localhost:8000"})


def test_the_environment_sets_host_and_port(tmp_path: Path) -> None:
    made = load(written(tmp_path, MODEL), ENV | {"OCHO_HOST": "::1", "OCHO_PORT": "81"})
    assert (made.host, made.server.port) == ("::1", 81)
    assert Settings().models == ()


def test_a_misspelt_section_is_named_although_there_is_no_provider_without_it(tmp_path: Path) -> None:
    told = complaint(tmp_path, MODEL.replace("models:", "modles:"))
    assert "line 2: unknown key 'modles'; known keys: answers, auth, cache" in told


def test_on_and_off_need_no_quotes(tmp_path: Path) -> None:
    text = f"{MODEL}    cache: off\ncache: {{coalesce: no, semantic: {{embedder: off, judge: {{model: off}}}}}}\n"
    made = load(written(tmp_path, text), ENV)
    assert (made.models[0].cache, made.cache.coalesce) == (False, False)
    assert (made.cache.semantic.embedder, made.cache.semantic.judge.model) == ("off", "off")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cache: {redis: {url: 'localhost:6379'}}", "cache.redis.url: must begin with redis://"),
        ("documents: [{name: hr/2026}]", "documents.0.name: must have no slash"),
        ("documents: [{name: hr, groups: hr}]", "groups: must be a list, [a, b, …]"),
        ("cache: on", "cache: must be a section, {key: value, …}"),
        ("documents: [hr]", "documents.0: must be a section, {key: value, …}"),
        ("documents: [{name: hr, kind: http, url: wiki}]", "documents.0.url: must begin with http:// or https://"),
    ],
)
def test_usual_mistakes_are_told_in_plain_words(tmp_path: Path, text: str, told: str) -> None:
    assert told in complaint(tmp_path, f"{MODEL}{text}\n")


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("deployments: [{name: d, kind: azure, base_url: 'http://x', model: eu-4o}]", "write deployment: eu-4o"),
        ("deployments: [{name: d, base_url: 'http://x', deployment: eu-4o}]", "are for kind: azure"),
        ("answers_with: gpt-4o, price: {input: 1}, fallbacks: [m]", "fallbacks, price: to be written at 'gpt-4o'"),
        ("answers_with: gpt-4o, documents: {collections: []}", "documents.collections: must not be empty"),
    ],
)
def test_what_would_change_nothing_where_it_stands_is_a_mistake(tmp_path: Path, model: str, told: str) -> None:
    assert told in complaint(tmp_path, f"{MODEL}  - {{name: hb, {model}}}\n")


def test_a_redis_address_of_the_environment_is_looked_at_too(tmp_path: Path) -> None:
    told = complaint(tmp_path, MODEL, {**ENV, "REDIS_URL": "localhost:6379"})
    assert told.startswith("the environment variable REDIS_URL: must begin with redis://")


def test_the_configuration_of_the_page_about_it_can_be_used(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "configuration.md").read_text(encoding="utf-8")
    example = page.split("```yaml\n")[1].split("```")[0]
    names = re.findall(r"\${(\w+)}", example)
    made = load(written(tmp_path, example), {name: f"redis://{name}" for name in names})
    assert {model.name for model in made.models} == {"gpt-4o", "gpt-4o-mini", "handbook"}
