"""``ocho gate calibrate`` against the stand-in provider, and the gateway that uses what it wrote."""

from __future__ import annotations

import asyncio
from codecs import BOM_UTF8
from pathlib import Path

import orjson
import yaml
from typer.testing import CliRunner

from bench.handbook import FOLDER, load
from bench.provider import ProviderConfig, running_provider
from gateway.cli.main import app
from gateway.routing.gate import KINDS, read_calibrations
from tests.flows.house import fill, house, model, settings

CLI = CliRunner()


async def test_a_calibration_is_made_and_served_by(tmp_path: Path) -> None:
    config = ProviderConfig(models={"big": "instant", "small": "gpt35-2023"}, time_scale=0, seed=1)
    async with running_provider(config) as provider:
        written = tmp_path / "gate.json"
        draft = {"model": "small", "mode": "cascade"}
        chatbot = {
            "name": "handbook", "answers_with": "big", "documents": {"collections": ["handbook"]}, "draft": draft,
        }  # fmt: skip
        models = [model("big", provider.base_url), model("small", provider.base_url), chatbot]
        documents = [{"name": "handbook"}]
        await fill(settings(tmp_path, *models, documents=documents), "handbook", FOLDER / "hr")
        file = tmp_path / "ocho.yaml"
        semantic = {"embedder": "off"}
        given = {"models": models, "documents": documents, "data_dir": str(tmp_path / "data"),
                 "cache": {"semantic": semantic}}  # fmt: skip
        file.write_text(yaml.safe_dump(given, allow_unicode=True))
        labelled = tmp_path / "questions.jsonl"
        asked = [q for q in load() if q.document is not None and q.document.startswith("hr/")][:60]
        rows = [{"q": q.text, "facts": q.facts, "wrong_facts": q.wrong_facts, "group": q.group} for q in asked]
        labelled.write_bytes(BOM_UTF8 + b"\n".join(orjson.dumps(row) for row in rows))

        def calibrate(*more: str) -> tuple[int, str]:
            command = ["gate", "calibrate", str(labelled), "--out", str(written), "-c", str(file), *more]
            result = CLI.invoke(app, command)
            return result.exit_code, result.output

        code, output = await asyncio.to_thread(calibrate, "--asks", "4", "--max-wrong", "0.2")
        assert code == 0, output
        assert "the draft model alone is wrong" in output
        for made in read_calibrations(written.read_bytes()).values():
            assert 0 < made.usable <= made.accept <= made.sure <= 1
        assert b"\xec" not in written.read_bytes()  # none of the questions

        lenient = orjson.loads(written.read_bytes())
        for name in KINDS.keys() & lenient.keys():
            lenient[name] |= {"accept": 0.0, "usable": 0.0}
        written.write_bytes(orjson.dumps(lenient))
        models[-1] = chatbot | {"draft": draft | {"calibration": str(written)}}
        async with house(tmp_path, *models, documents=documents) as it:
            for question in asked[:5]:
                await it.chat(question.text, "handbook")
            assert it.count("ocho_drafts_total", result="accepted") >= 4  # whatever passes no veto

        code, output = await asyncio.to_thread(calibrate, "--model", "big")
        assert code == 2
        assert "model 'big' has no draft" in output
