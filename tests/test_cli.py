"""The commands as a newcomer types them, each in its own process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp

from bench.provider import ProviderConfig, running_provider
from gateway import __version__
from tests.flows.house import FINE, scripted, streams
from tests.redis_server import free_port

ROOT = Path(__file__).parents[1]


async def start(folder: Path, *args: str, **environ: str) -> asyncio.subprocess.Process:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI", "AZURE", "OCHO", "REDIS"))}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *args, cwd=folder, stdin=-1, stdout=-1, stderr=-1,
        env={**clean, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1", **environ},
    )  # fmt: skip


async def ocho(folder: Path, *args: str, **environ: str) -> tuple[int, str, str]:
    """Status, stdout, stderr."""
    process = await start(folder, *args, **environ)
    out, err = await process.communicate()
    assert b"Traceback" not in err, err.decode()
    return process.returncode or 0, out.decode(), err.decode()


async def test_version_help_and_no_provider(tmp_path: Path) -> None:
    (status, out, _), (none, _, told), (checked, _, checked_told), (helped, shown, _) = await asyncio.gather(
        ocho(tmp_path, "version"), ocho(tmp_path, "serve"), ocho(tmp_path, "check"), ocho(tmp_path, "--help")
    )
    assert (status, out.strip()) == (0, __version__)
    assert (none, checked) == (2, 2)
    for text in (told, checked_told):
        assert "no provider is configured" in text
        assert "OPENAI_API_KEY" in text
        assert "AZURE_OPENAI_ENDPOINT" in text
        assert "ocho.yaml" in text
    assert helped == 0
    assert all(command in shown for command in ("serve", "check", "ingest", "version"))


async def test_check_says_what_is_wrong_or_what_will_run(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("models: [{name: a}]\nserver: {prot: 1}\n", encoding="utf-8")
    (tmp_path / "data").write_text("a file where a folder is wanted", encoding="utf-8")
    good = """models:
  - {name: "m[red]", deployments: [{name: d, base_url: "http://127.0.0.1:1/v1", api_key: ${KEY}}]}
  - {name: handbook, answers_with: "m[red]", documents: {collections: [hr]}, draft: {model: "m[red]"}}
documents: [{name: hr}]
"""
    (tmp_path / "good.yaml").write_text(good, encoding="utf-8")
    (tmp_path / "file.yaml").write_text(good + "data_dir: data\n", encoding="utf-8")
    bad, fine, unset, redis, blocked = await asyncio.gather(
        ocho(tmp_path, "check", "--config", "bad.yaml"),
        ocho(tmp_path, "check", "-c", "good.yaml", KEY="sk-very-secret"),
        ocho(tmp_path, "check", "-c", "good.yaml"),
        ocho(tmp_path, "check", "-c", "good.yaml", KEY="k", REDIS_URL=f"redis://127.0.0.1:{free_port()}"),
        ocho(tmp_path, "check", "-c", "file.yaml", KEY="k"),
    )
    assert bad[0] == 2
    assert "line 1: models.0: give either deployments or answers_with" in bad[2]
    assert "line 2: unknown key 'server.prot'; known keys:" in bad[2]
    assert fine[0] == 0
    assert "model m[red]" in fine[1]
    assert "within 5 s, drafts by m[red]" in " ".join(fine[1].replace("│", " ").split())
    assert "ocho ingest PATH --collection hr" in fine[1]
    assert "sk-very-secret" not in fine[1] + fine[2]
    assert unset[0] == 2
    assert "line 2: the environment variable KEY is not set" in unset[2]
    assert redis[0] == 0
    assert "Redis cannot be used now" in redis[1]
    assert blocked[0] == 2
    assert "data folder 'data' cannot be used" in blocked[2]


async def test_ingest_of_wrong_paths_and_names_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "ocho.yaml").write_text("documents: [{name: hr}]\n", encoding="utf-8")
    (tmp_path / "a.md").write_text("# 휴가\n\n15일\n", encoding="utf-8")
    (tmp_path / "docs").mkdir()
    for name in ("a.doc", "b.DOC", "Makefile"):
        (tmp_path / "docs" / name).write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe.md")
    pipe, left_out = await asyncio.gather(
        ocho(tmp_path, "ingest", "pipe.md", "--collection", "hr"),
        ocho(tmp_path, "ingest", "docs", "--collection", "hr"),
    )
    assert (pipe[0], left_out[0]) == (2, 0)
    assert "pipe.md is neither a file nor a folder" in pipe[2]
    assert "left out, for they are of no format that is read: 2 .doc, 1 without ending\n" in left_out[1]
    nowhere, typo, fine, pruned = await asyncio.gather(
        ocho(tmp_path, "ingest", "no[where]", "--collection", "hr"),
        ocho(tmp_path, "ingest", "a.md", "--collection", "hrr"),
        ocho(tmp_path, "ingest", "a.md", "--collection", "hr"),
        ocho(tmp_path, "ingest", "a.md", "--collection", "hr", "--prune"),
    )
    assert nowhere[0] == 2
    assert "no[where] does not exist" in nowhere[2]
    assert typo[0] == 2
    assert "no collection named 'hrr' is configured; configured: hr" in typo[2]
    assert (fine[0], fine[1].split(",")[0]) == (0, "hr: 1 added")
    assert pruned[0] == 2
    assert "folder" in pruned[2]


async def test_ingest_reads_the_folders_that_the_configuration_names(tmp_path: Path) -> None:
    for name in ("규정", "it"):
        (tmp_path / "conf" / name).mkdir(parents=True)
        (tmp_path / "conf" / name / "a.md").write_text(f"# {name}\n\n15일\n", encoding="utf-8")
    (tmp_path / "conf" / "it" / "draft.md").write_text("# Draft\n\nnot yet\n", encoding="utf-8")
    (tmp_path / "conf" / "ocho.yaml").write_text(
        "documents:\n  - {name: gone, path: nowhere}\n  - {name: file, path: ocho.yaml}\n  - {name: hr, path: 규정}\n"
        f"  - {{name: it, path: {tmp_path / 'conf' / 'it'}}}\n  - {{name: bare}}\n"
        '  - {name: wiki, kind: http, url: "http://127.0.0.1:1/"}\n',
        encoding="utf-8",
    )
    given = ("--config", "conf/ocho.yaml")
    status, out, told = await ocho(tmp_path, "ingest", *given, "--exclude", "draft*")
    assert status == 2
    assert [line.split(",")[0] for line in out.splitlines()] == ["hr: 1 added", "it: 1 added"]
    assert "documents: gone: path conf/nowhere does not exist" in told
    assert "documents: file: path conf/ocho.yaml is a file" in told
    one, bare, outside, watched, homeless, checked = await asyncio.gather(
        ocho(tmp_path, "ingest", *given, "--collection", "it"),
        ocho(tmp_path, "ingest", *given, "--collection", "bare"),
        ocho(tmp_path, "ingest", "conf/it", *given, "--collection", "wiki"),
        ocho(tmp_path, "ingest", *given, "--watch"),
        ocho(tmp_path, "ingest", "conf/it", *given),
        ocho(tmp_path, "check", *given, OPENAI_API_KEY="k"),
    )
    assert one[:2] == (0, "it: 1 added, 0 changed, 1 unchanged, 0 deleted, 1 passages\n")
    assert (bare[0], outside[0], watched[0], homeless[0], checked[0]) == (2, 2, 2, 2, 0)
    assert "path: FOLDER" in bare[2]
    assert "'wiki' is searched in http" in outside[2]
    assert "choose with --collection; there are: gone, file, hr, it" in watched[2]
    assert "ocho ingest conf/it --collection NAME" in homeless[2]
    assert "conf/nowhere is no folder" in checked[1]


async def test_a_document_from_stdin_is_listed_shown_and_deleted(tmp_path: Path) -> None:
    (tmp_path / "ocho.yaml").write_text("documents: [{name: hr}]\n", encoding="utf-8")
    read = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "ingest", "-", "--name", "휴가.md", "--collection", "hr", cwd=tmp_path,
        stdin=-1, stdout=-1, stderr=-1, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    told, _ = await read.communicate("# 연차휴가와 경조휴가의 규정과 그 세칙\n\n정규직은 15일이다.\n".encode())
    assert (read.returncode, told.decode()) == (0, "hr: 휴가.md stored, 1 passages\n")
    listed = await ocho(tmp_path, "documents", "list", "--collection", "hr", "--json")
    assert json.loads(listed[1])["document"] == "휴가.md"
    narrow = await ocho(tmp_path, "documents", "list", "--collection", "hr", COLUMNS="80")
    assert "휴가.md" in narrow[1]
    assert "…" not in narrow[1]
    shown = await ocho(tmp_path, "documents", "show", "휴가.md", "--collection", "hr")
    assert "정규직은 15일이다." in shown[1]
    unread = await start(tmp_path, "ingest", "-", "--name", "a.json", "--collection", "hr")
    _, error = await unread.communicate(b"{}")
    assert (unread.returncode, error.decode().count("error:")) == (2, 1)
    assert b"no reader for .json" in error
    wrong, nameless, missing = await asyncio.gather(
        ocho(tmp_path, "documents", "delete", "휴가.md", "b.md", "--collection", "hr"),
        ocho(tmp_path, "ingest", "-", "--collection", "hr"),
        ocho(tmp_path, "documents", "list", "--collection", "hrr"),
    )
    assert (wrong[0], "'b.md'" in wrong[2], nameless[0], missing[0]) == (2, True, 2, 2)
    assert "there are: hr" in missing[2]
    assert (await ocho(tmp_path, "documents", "delete", "휴가.md", "--collection", "hr"))[1] == "hr: 1 deleted\n"
    assert (await ocho(tmp_path, "documents", "list", "--collection", "hr", "--json"))[1] == ""


async def test_watch_follows_a_folder_until_it_is_told_to_stop(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("# 휴가\n\n15일\n", encoding="utf-8")
    process = await start(tmp_path, "ingest", "docs", "--collection", "hr", "--watch")
    assert process.stdout is not None
    assert (await process.stdout.readline()).startswith(b"hr: 1 added")
    (folder / "b.md").write_text("# 출장\n\n숙박\n", encoding="utf-8")
    assert (await process.stdout.readline()).startswith(b"hr: 1 added")
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    assert (process.returncode, out.decode().strip()) == (0, "stopped; every document is whole")
    assert b"Traceback" not in err


async def ready(port: int, process: asyncio.subprocess.Process) -> None:
    async with aiohttp.ClientSession() as http:
        while process.returncode is None:
            try:
                async with http.get(f"http://127.0.0.1:{port}/readyz") as response:
                    assert response.status == 200
                    return
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.02)
    raise AssertionError((await process.stderr.read()).decode())  # type: ignore[union-attr]


async def test_sigterm_lets_a_running_stream_finish_and_logs_are_json_without_prompts(tmp_path: Path) -> None:
    port = free_port()
    async with scripted(streams(*FINE, every_s=0.2)) as upstream, aiohttp.ClientSession() as http:
        given = {"OPENAI_API_KEY": "sk-very-secret", "OPENAI_BASE_URL": upstream.base_url, "OCHO_PORT": str(port)}
        process = await start(tmp_path, "serve", **given)
        try:
            await ready(port, process)
            idle = await http.get(f"http://127.0.0.1:{port}/healthz")  # its connection stays open
            await idle.read()
            asked: Any = {"model": "m", "messages": [{"role": "user", "content": "비밀질문"}], "stream": True}
            async with http.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=asked) as response:
                await response.content.readany()
                process.send_signal(signal.SIGTERM)
                rest = await response.read()
            assert rest.endswith(b"data: [DONE]\n\n")
            out, err = await asyncio.wait_for(process.communicate(), 10)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0, err.decode()
    lines = [json.loads(line) for line in out.decode().splitlines()]
    events = [line["event"] for line in lines]
    assert events.index("listening") < events.index("draining") < len(events)
    [request] = [line for line in lines if line["event"] == "request" and line["operation"] == "chat"]
    assert {"request_id", "seconds", "timestamp", "level", "model"} <= set(request)
    assert (request["cache"], request["served_by"]) == ("bypass", "model")
    assert "비밀질문" not in out.decode() + err.decode()
    assert "sk-very-secret" not in out.decode() + err.decode()


async def test_a_port_in_use_and_a_port_that_is_none_are_told(tmp_path: Path) -> None:
    async with running_provider(ProviderConfig(profile="instant")) as provider:
        used, none = await asyncio.gather(
            ocho(tmp_path, "serve", "--port", str(provider.port), OPENAI_API_KEY="k"),
            ocho(tmp_path, "serve", "--port", "99999", OPENAI_API_KEY="k"),
        )
    assert used[0] == 2
    assert f"cannot listen on 127.0.0.1:{provider.port}" in used[2]
    assert none[0] == 2
    assert "Invalid value for '--port'" in none[2]


async def test_a_model_folder_that_is_none_is_one_line(tmp_path: Path) -> None:
    config = tmp_path / "ocho.yaml"
    config.write_text("cache: {semantic: {embedder: onnx, onnx: {folder: nowhere}}}\n", encoding="utf-8")
    served, checked = await asyncio.gather(
        ocho(tmp_path, "serve", "--config", str(config), OPENAI_API_KEY="k"),
        ocho(tmp_path, "check", "--config", str(config), OPENAI_API_KEY="k"),
    )
    assert served[0] == 2
    assert "nowhere is no folder" in served[2]
    assert "Traceback" not in served[2]
    assert checked[0] == 2
    assert "nowhere is no folder" in " ".join(checked[1].split())


async def test_check_warns_of_tenants_that_share_the_providers_files(tmp_path: Path) -> None:
    keys = "auth: {keys: [{key: key-of-app-1, tenant: a}, {key: key-of-app-2, tenant: b}]}\n"
    (tmp_path / "ocho.yaml").write_text(keys, encoding="utf-8")
    _, shared, _ = await ocho(tmp_path, "check", OPENAI_API_KEY="k")
    assert "2 tenants" in shared
    (tmp_path / "ocho.yaml").write_text(keys + "files: {api: ocho}\n", encoding="utf-8")
    _, apart, _ = await ocho(tmp_path, "check", OPENAI_API_KEY="k")
    assert "served here" in apart
    assert "tenants" not in apart


async def test_check_warns_of_settings_that_come_to_nothing(tmp_path: Path) -> None:
    documents = "documents: [{name: hr, groups: [hr, it]}, {name: law, groups: [law], uploads: [app1, app2, '*']}]\n"
    models = 'models: [{name: m, hedge: {}, deployments: [{name: d, base_url: "http://127.0.0.1:1/v1"}]}]\n'
    keys = "auth: {keys: [{key: key-of-app-1, tenant: app1, groups: [it]}]}\n"
    (tmp_path / "ocho.yaml").write_text(models + keys + documents, encoding="utf-8")
    _, told, _ = await ocho(tmp_path, "check", OPENAI_API_KEY="k")
    assert "no API key has the group law" in told
    assert "no API key is of the tenant app2 " in told
    assert "group hr" not in told
    assert "no second deployment" in told


async def test_a_damaged_document_record_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "ocho.yaml").write_text("documents: [{name: hr}]\n", encoding="utf-8")
    (tmp_path / "ocho-data").mkdir()
    (tmp_path / "ocho-data" / "documents.db").write_bytes(b"not a database at all" * 100)
    for command in (["check"], ["serve", "--port", "0"], ["ingest", ".", "--collection", "hr"]):
        status, _, told = await ocho(tmp_path, *command, OPENAI_API_KEY="k")
        assert status == 2
        assert "not a database" in told


async def test_calibrate_writes_numbers_and_says_what_a_line_must_look_like(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"question": "연차는?"}\n', encoding="utf-8")
    status, _, told = await ocho(tmp_path, "cache", "calibrate", "bad.jsonl", "--embedder", "local")
    assert status == 2
    assert "bad.jsonl line 1" in told
    rows = [{"a": f"연차 {n}번 규정이 뭔가요", "b": f"연차 {n}번 규정 알려줘", "same": n % 2} for n in range(12)]
    (tmp_path / "own.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8-sig")
    command = ("cache", "calibrate", "own.jsonl", "--embedder", "local", "--out", "c.json")
    status, out, told = await ocho(tmp_path, *command)
    assert (status, told) == (0, "")
    assert "cache.semantic.calibration: c.json" in out
    made = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    assert made["embedder"] in out
    assert "연차" not in (tmp_path / "c.json").read_text(encoding="utf-8")


async def test_a_log_that_is_no_terminal_has_no_colours(tmp_path: Path) -> None:
    code = "from gateway import logs; logs.configure_logs(style='console'); logs.structlog.get_logger().info('x', a=1)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=ROOT, stdout=-1)
    written, _ = await process.communicate()
    assert b"a=1" in written
    assert b"\x1b" not in written
