"""A registry with one signed bundle in production, that has lineage and files in folders; and the verbs over it."""

import json

from typer.testing import CliRunner

from operators.cli.main import app
from operators.labs.simple_model import build_simple
from serving.models.build import build_bundle


class Registered:
    def __init__(self, folder, files=3):
        self.folder = folder
        model = (build_simple(folder / "simple").folder / "model.onnx").read_bytes()
        self.bundle = build_bundle(
            folder / "bundle",
            model=model,
            name="flows.v2",
            version="7",
            description="of the exchange",
            files={f"reference/part-{n:03d}/{'x' * 80}.json": b"%d" % n for n in range(files)},
            lineage={
                "data_digest": "sha256:00",
                "code_commit": "abc",
                "seed": 7,
                "parameters": {"trees": 300},
                "metrics": {"validation": {"recall": 0.98, "is_met": True}},
            },
        )
        self.run("key", "new", folder / "ada.pem")
        self.run("push", self.bundle.folder)
        self.run("sign", "flows.v2", "--key", folder / "ada.pem")
        self.run("alias", "flows.v2", "night-shift", "--why", "proven")
        self.run("promote", "flows.v2", "production", "--why", "recall")

    def run(self, *words, registry="registry"):
        told = ["registry", *map(str, words)]
        if words[0] != "key":
            told += ["--store-dir", str(self.folder / "store"), "--registry", str(self.folder / registry)]
        done = CliRunner().invoke(app, [*told, "--json"])
        if done.exception is not None:
            raise done.exception
        return json.loads(done.stdout[done.stdout.index("{") if "{" in done.stdout else 0 :])
