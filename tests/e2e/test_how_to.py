"""How-tos followed to the letter, each from an empty folder or after another page in the same one, by as few servers as will do."""

import csv
import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.running import how_to, tutorials
from tests.e2e.running.how_to import Reader, outputs, played
from tests.e2e.running.near_rows import near_hits
from tests.e2e.running.vedette import Vedette, up
from tests.fakes.redis_server import PROGRAM, RedisServer
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
APPROVE, EVALUATE = "approve-a-rollout.md", "evaluate.md"
OWN, ANY, PROMOTE = "own-detector.md", "serve-any-onnx-model.md", "promote-a-model.md"
ROLL_OUT, CANARY, ASK, COMPARE, SCALE = (
    "roll-out-a-model.md", "canary-at-3-am.md", "ask-a-variant.md", "compare-two-models.md", "scale.md"
)  # fmt: skip
ERASE, KEEP = "erase-a-person.md", "keep-records-for-years.md"

INFER = "curl -s http://127.0.0.1:8080/v2/models/flows/infer -d @.vedette/examples/flows.json"


@pytest.fixture(scope="module")
def one_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Empty at first; the pages that bring models of their own are followed here one after the other."""
    return tmp_path_factory.mktemp("pages")


@pytest.mark.xdist_group("page: models of ones own")
class TestModelsOfOnesOwn:
    """In one folder, in this order."""

    def test_a_detector_of_ones_own(self, one_folder: Path):
        reader = Reader(one_folder)
        reader.makes_files(OWN)
        reader.follows(OWN)
        verdicts = list(map(json.loads, (one_folder / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()))
        assert len(verdicts) > 100
        assert not [line for line in verdicts if "error" in line]
        assert {"alert", "benign"} <= {line["verdict"] for line in verdicts}
        assert len(played(OWN)) < 10

    def test_then_a_model_made_elsewhere_and_one_server_for_both(self, one_folder: Path):
        reader = Reader(one_folder)
        reader.makes_files(ANY)
        reader.follows(ANY)
        (serve, asks, describes), (serve_own, asks_own) = played(ANY)[-3:], played(OWN)[-2:]
        assert serve == serve_own, "one server is what both pages say"
        with up(one_folder / ".vedette", *shlex.split(serve)[2:], cwd=one_folder) as served:
            reader.server = served
            answered = outputs(reader.types(OWN, asks_own))
            assert answered["verdict"] == ["alert"], "one.json is a guesser's login"
            assert answered["degraded"] == [False]
            assert outputs(reader.types(ANY, asks))["verdict"] == ["benign", "alert"]
            assert {t["name"] for t in json.loads(reader.types(ANY, describes))["inputs"]} == {"country", "attempts"}

    def test_a_model_made_elsewhere_from_an_empty_folder(self, tmp_path: Path):
        reader = Reader(tmp_path)
        reader.makes_files(ANY)
        reader.follows(ANY)
        assert "visits" in reader.says("vedette models")


@pytest.mark.xdist_group("page: promote a model")
def test_promote_a_model(tmp_path: Path):
    """Trained, signed and promoted in one store, served from another that takes nothing unsigned, rolled out by reference."""
    reader = Reader(tmp_path)
    reader.follows(PROMOTE)
    serve, start = played(PROMOTE)[-2:]
    store = tmp_path / "serving-machine"
    with up(store, *shlex.split(serve)[2:3], cwd=tmp_path, **reader.exported) as served:
        reader.server = served
        index = json.loads(reader.says("curl -s -X POST http://127.0.0.1:8080/v2/repository/index -d '{}'"))
        assert [(m["name"], m["state"]) for m in index] == [("flows", "READY")]
        reader.types(PROMOTE, start)
    (digest,) = {m["digest"] for m in json.loads(reader.says("vedette registry list --json"))}
    assert digest in (store / "control" / "services" / "flows.yaml").read_text(encoding="utf-8")
    (path,) = (tmp_path / "registry" / "signatures").rglob("*.sig")
    path.unlink()
    assert "has no signature" in reader.refused("vedette registry verify flows")


@pytest.mark.xdist_group("page: a person is erased and records are kept for years")
def test_a_person_is_erased_and_records_are_kept_for_years(tmp_path: Path):
    """Rows of two hosts are scored by a detector that declares the host as personal; then both pages are followed in its store."""
    declared = (how_to.ROOT / "lifecycle/datasets/detectors/flows.yaml").read_text(encoding="utf-8")
    personal = declared.replace("entity: {key: host}", "personal: [host]\nentity: {key: host}")
    (tmp_path / "mine.yaml").write_text(personal, encoding="utf-8")
    row = {
        "proto": "tcp",
        "state": "CON",
        "sport": 1,
        "dport": 80,
        "duration": 1.0,
        "packets": 5,
        "bytes": 500,
        "src_bytes": 300,
    }
    rows = [json.dumps({"host": host, **row}) for host in ("10.0.0.5", "10.0.0.9") * 5]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    reader = Reader(tmp_path)
    reader.says("vedette train mine.yaml")
    reader.says("vedette score rows.jsonl --out verdicts.jsonl")
    look, erase, verify, count, acts = played(ERASE)
    assert reader.types(ERASE, look).count("10.0.0.5") == 5
    reader.types(ERASE, erase)
    assert "sound" in reader.types(ERASE, verify)
    assert "│            0 │" in reader.types(ERASE, count)
    assert "request 118" in reader.types(ERASE, acts)

    reader.exported["VEDETTE_AUDIT_ARCHIVE"] = str(tmp_path / "evidence")
    reader.follows(KEEP)
    assert "5" in reader.says("vedette audit query \"SELECT count(*) FROM rows WHERE inputs->>'host' = '10.0.0.9'\"")
    assert list((tmp_path / "evidence").glob("segment-*.parquet"))
    assert "case 7" in reader.says("vedette audit hold list")


@pytest.mark.xdist_group("page: keys of the log are made rotated and revoked")
def test_keys_of_the_log_are_made_rotated_and_revoked(tmp_path: Path):
    from serving.audit.keys.keyring import ensure_key

    ensure_key(tmp_path / ".vedette")  # as the first `vedette up` does
    reader = Reader(tmp_path)
    for command in played("anchor-the-log.md"):
        printed = reader.types("anchor-the-log.md", command)
        if command == "vedette audit key show":
            assert "replaced by" in printed
    revoked = (tmp_path / ".vedette/keys/trusted/revoked").read_text(encoding="utf-8")
    assert revoked.startswith((tmp_path / "build/key/audit.pub").read_text(encoding="utf-8").strip())


@pytest.mark.xdist_group("page: an auditor verifies a package")
def test_an_auditor_verifies_a_package(tmp_path: Path):
    from serving.audit.keys.keyring import ensure_key
    from serving.audit.segments import ChainedSegments
    from serving.audit.signed_note import Signer
    from tests.fakes.audit.honest_logs import record_line

    signer = Signer.from_file(ensure_key(tmp_path / ".vedette"))
    log = ChainedSegments(
        tmp_path / ".vedette/audit",
        "replica",
        segment_bytes=1 << 20,
        signer=lambda: signer,
        now_us=lambda: time.time_ns() // 1000,
    )
    log.append([record_line("replica", time.time_ns() // 1000 + number) for number in range(50)])
    log.end()
    reader = Reader(tmp_path)
    *asked, unpack, look, believe, receipt, report = played("verify-as-an-auditor.md")
    for command in (*asked, unpack):
        reader.types("verify-as-an-auditor.md", command)
    assert reader.types("verify-as-an-auditor.md", look).startswith("sound: 50 records")
    assert reader.types("verify-as-an-auditor.md", believe).startswith("sound: 50 records")
    assert "is proved: replica, segment 1, line 50" in reader.types("verify-as-an-auditor.md", receipt)
    (records,) = (tmp_path / "package/audit").glob("*.jsonl")
    records.write_bytes(records.read_bytes().replace(b"benign", b"alerts", 1))
    reader.types("verify-as-an-auditor.md", report, ends_with=(1,))
    assert json.loads((tmp_path / "findings.json").read_bytes())["findings"][0]["kind"] == "changed"


@pytest.mark.xdist_group("page: approve a rollout")
def test_evaluate_a_detector(tmp_path: Path):
    reader = Reader(tmp_path)
    assert "Cost of false alarms" in reader.types(EVALUATE, played(EVALUATE)[0]), "generated flows have times, so a pace"
    assert "4 analysts" in reader.types(EVALUATE, played(EVALUATE)[1])
    page = (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    assert page.count('class="chart"') >= 4


def test_approve_a_rollout(tmp_path: Path):
    reader = Reader(tmp_path)
    reader.makes_files(APPROVE)
    reader.follows(APPROVE)
    people = yaml.safe_load((tmp_path / ".vedette/governance/people.yaml").read_text(encoding="utf-8"))["people"]
    assert [p["key"].split("+")[0] for p in people] == ["ada", "bob"]


class TestOnOneServer:
    """Pages that change nothing: followed in the folder in which the shared `vedette up` was started."""

    @pytest.fixture
    def reader(self, vedette: Vedette) -> Reader:
        return Reader(vedette.store.parent, vedette)

    def test_use_public_clients(self, reader: Reader):
        printed = list(reader.runs_python("use-public-clients.md"))
        assert "[[ 1  2  3" in printed[0]
        assert "src_ip" in printed[1] or "datatype" in printed[1]
        assert "OUTPUT0" in printed[2]
        described, predicted = (reader.types("use-public-clients.md", c) for c in played("use-public-clients.md"))
        assert json.loads(described)["name"] == "simple"
        assert json.loads(predicted)["outputs"]["OUTPUT0"] == [list(range(2, 18))]

    def test_explain_a_verdict(self, reader: Reader):
        page = "explain-a-verdict.md"
        reader.makes_files(page)
        asks, reads, keeps, why, otherwise, rule, scores, says = played(page)
        reader.types(page, asks)
        reasons = reader.types(page, reads).splitlines()
        assert reasons
        reader.types(page, keeps)
        receipt, log = (reader.folder / "receipt.txt").read_text(encoding="utf-8").strip(), reader.folder / ".vedette" / "audit"
        until(lambda: any(receipt.encode() in path.read_bytes() for path in log.glob("segment-*.jsonl")), "no record")
        told = reader.types(page, why)
        assert "row 0: alert" in told
        assert reasons[0].partition(":")[0] in told
        assert "exact, against the training rows" in told
        assert "Benign if" in reader.types(page, otherwise) or "nothing plausible" in reader.types(page, otherwise)
        assert "the rules agree with the model on" in reader.types(page, rule)
        reader.types(page, scores)
        assert reader.types(page, says).strip().endswith(".")

    def test_label_answers(self, reader: Reader):
        page = "label-answers.md"
        makes, asks, gives, corrects, shows, queue, exports, imports, lists, verifies = played(page)
        reader.types(page, makes)
        receipt = json.loads(reader.types(page, asks))["parameters"]["receipt"]
        log = reader.folder / ".vedette" / "audit"
        until(lambda: any(receipt.encode() in path.read_bytes() for path in log.glob("segment-*.jsonl")), "no record")
        assert f"given: {receipt}#0 of flows is benign, says ada" in reader.types(page, gives)
        assert "corrected" in reader.types(page, corrects)
        assert "backup job" in reader.types(page, shows)
        assert "events of flows to label" in reader.types(page, queue)
        reader.types(page, exports)
        with (reader.folder / "labels.csv").open(encoding="utf-8") as file:  # other pages on this server give labels too
            rows = list(csv.DictReader(file))
        assert [row["verdict"] for row in rows if receipt in "".join(row.values())] == ["attack"]
        assert f"0 given, 0 corrected, {len(rows)} known already" in reader.types(page, imports)
        assert f"{len(rows)} events are labelled: " in reader.types(page, lists)
        assert "labels" in reader.types(page, verifies)

    def test_see_performance_with_late_labels(self, reader: Reader):
        page = "see-performance-with-late-labels.md"
        draws, looks, writes, assumes, for_programs, watches = played(page)
        receipt = json.loads(reader.says(INFER))["parameters"]["receipt"]
        log = reader.folder / ".vedette" / "audit"
        until(lambda: any(receipt.encode() in path.read_bytes() for path in log.glob("segment-*.jsonl")), "no record")
        reader.types(page, draws)
        reader.says(f"vedette label give {receipt}#0 --verdict attack --by ada")
        assert "the bundle's own" in reader.types(page, looks)
        reader.types(page, writes)
        assert 'class="chart"' in (reader.folder / "performance.html").read_text(encoding="utf-8")
        assert "2.00 % of the labels are wrong" in reader.types(page, assumes)
        assert json.loads(reader.types(page, for_programs))["whole"]["rows"] > 0
        reader.types(page, watches, ends_with=(0, 1))

    def test_watch_it_at_work(self, reader: Reader):
        assert {"alert"} <= set(outputs(reader.says(INFER))["verdict"])
        screen, metrics, records = played("watch-it.md")
        assert "flows" in reader.types("watch-it.md", screen)
        assert "vedette_requests_total" in reader.types("watch-it.md", metrics)
        found = lambda: reader.types("watch-it.md", records)  # noqa: E731 - records are written off the request's path
        printed = until(found, "no alert came into the prediction log", every_s=0.2)
        assert "alert" in json.loads(printed)["verdicts"]

    def test_run_the_monitor(self, reader: Reader):
        receipt = json.loads(reader.says(INFER))["parameters"]["receipt"]
        log = reader.folder / ".vedette" / "audit"
        until(lambda: any(receipt.encode() in path.read_bytes() for path in log.glob("segment-*.jsonl")), "no record")
        once, show, for_programs = played("run-the-monitor.md")
        look = lambda: reader.types("run-the-monitor.md", once, ends_with=(0, 1))  # noqa: E731 - others' requests need not look like training
        show_now = lambda: reader.types("run-the-monitor.md", show, ends_with=(0, 1))  # noqa: E731 - 1: nothing was counted yet
        seen = lambda: (look(), "flows version 1: " in show_now())[1]  # noqa: E731 - records come off the path
        until(seen, "the monitor knows nothing of flows", every_s=0.2)
        subjects = json.loads(reader.types("run-the-monitor.md", for_programs))
        assert len(subjects) == 3
        assert subjects[0]["e_value"] >= subjects[-1]["e_value"] > 0


@pytest.fixture(scope="module")
def redis() -> Iterator[str | None]:
    """A Redis of this module's own, where it can be had."""
    if PROGRAM is None:
        yield None
        return
    server = RedisServer()
    yield server.url
    server.stop()


@pytest.fixture(scope="module")
def rolling(tmp_path_factory: pytest.TempPathFactory, redis: str | None) -> Iterator[Reader]:
    """A server that may be changed, started in an empty folder: features in Redis and kept near, up to two replicas."""
    folder = tmp_path_factory.mktemp("rolling")
    told = {} if redis is None else {"VEDETTE_REDIS_URL": redis, "VEDETTE_FEATURE_NEAR_CACHE_BYTES": "67108864"}
    with up(folder / ".vedette", "--max-replicas", "2", cwd=folder, **told) as served:
        yield Reader(folder, served, told)


def phase(reader: Reader) -> str:
    return json.loads(reader.says("vedette rollout get flows --json"))["status"]["phase"]


@pytest.mark.xdist_group("page: changes in one folder")
class TestChangesInOneFolder:
    """In this order: the first canary, features in Redis, a rollout, a variant by name, the night shift, an A/B test, scaling."""

    def test_keep_features_in_redis(self, rolling: Reader, redis: str | None):
        if redis is None:
            pytest.skip("redis-server is not installed; `make services` installs it")
        export, materialize, keep_near = played("keep-features-in-redis.md")
        rolling.types("keep-features-in-redis.md", export)
        rolling.types("keep-features-in-redis.md", keep_near)
        assert "views are in the online store" in rolling.types("keep-features-in-redis.md", materialize)
        assert outputs(rolling.says(INFER))["degraded"] == [False] * 4

        event = (rolling.folder / ".vedette/examples/flows.json").read_bytes()
        until(lambda: near_hits(rolling.server, "flows", event) > 0, "no row was found near", every_s=0.02)

    def test_first_canary(self, rolling: Reader):
        tutorials.first_canary(rolling, "first-canary.md")

    def test_roll_out_a_model(self, rolling: Reader):
        for _ in range(60):
            rolling.says(INFER)
        train, plan, start, status, history, page, threshold = played(ROLL_OUT)
        assert has_two_versions(rolling) == train, "the tutorial has typed it in this folder"
        rolling.says(INFER)
        rolling.types(ROLL_OUT, plan, ends_with=(0, 1))  # says how much more traffic it needs, or what it found
        rolling.types(ROLL_OUT, start)
        rolling.says("vedette rollout promote flows --full --why 'evidence takes hours of traffic'")
        rolling.types(ROLL_OUT, status)
        assert phase(rolling) == "Healthy"
        assert "recall on DNS tunnels" in rolling.types(ROLL_OUT, history)
        rolling.types(ROLL_OUT, page)
        assert "<html" in (rolling.folder / "page.html").read_text(encoding="utf-8")
        rolling.types(ROLL_OUT, threshold)

    def test_ask_a_variant(self, rolling: Reader):
        (ask,) = played(ASK)

        def answer() -> dict[str, Any]:
            found = json.loads(rolling.types(ASK, ask))
            return {} if "error" in found else found  # until the candidate is loaded

        assert until(answer, every_s=0.2)["parameters"]["variant"] == "candidate"

    def test_canary_at_3_am(self, rolling: Reader):
        get, abort, pause, resume, undo = played(CANARY)
        rolling.types(CANARY, get)
        rolling.types(CANARY, pause)
        rolling.types(CANARY, resume)
        rolling.types(CANARY, abort)
        assert phase(rolling) == "Aborted"
        rolling.says("vedette rollout retry flows")  # the page's last word on what was aborted
        rolling.says("vedette rollout promote flows --full --why 'looked at it in the morning'")
        rolling.says("vedette rollout status flows --timeout 5m")
        assert "`undo`" in rolling.refused("vedette rollout abort flows"), "the way back after a promotion"
        rolling.types(CANARY, undo)
        assert "undo" in rolling.says("vedette rollout history flows")

    def test_retrain_a_model(self, rolling: Reader):
        page = "retrain-a-model.md"
        policy, check, run, status, get, lineage = played(page)
        rolling.types(page, policy)
        assert "flows: wait: no alarm stands" in rolling.types(page, check)
        assert "flows: no alarm stands" in rolling.types(page, run)
        assert "processor time left this week: 7200 s" in rolling.types(page, status)
        rolling.types(page, get)
        assert "made of" in rolling.types(page, lineage)

    def test_compare_two_models(self, rolling: Reader):
        has_two_versions(rolling)
        assert "at equal alert budget" in rolling.types(COMPARE, played(COMPARE)[0])
        assert "<html" in (rolling.folder / "comparison.html").read_text(encoding="utf-8")
        rolling.says("vedette rollout start flows --version 1")  # what serves first, as the page says of an aborted rollout
        rolling.says("vedette rollout promote flows --full --why 'back to the first'", ends_with=(0, 1))  # 1: it serves already
        rolling.says("vedette rollout status flows --timeout 5m")
        for command in played(COMPARE)[1:]:
            rolling.types(COMPARE, command)
            if command.startswith("vedette experiment start"):
                rolling.waits(
                    "vedette experiment get flows --json", lambda text: json.loads(text)["status"].get("report") is not None
                )

    def test_scale(self, rolling: Reader):
        has_two_versions(rolling)
        for command in played(SCALE):
            rolling.types(SCALE, command)
        document = yaml.safe_load((rolling.folder / ".vedette/control/services/flows.yaml").read_text(encoding="utf-8"))
        assert (document["spec"]["scaling"]["minReplicas"], document["spec"]["scaling"]["maxReplicas"]) == (1, 4)


def has_two_versions(reader: Reader) -> str:
    """The pages on two versions begin where the page on rollouts ends. Gives the command that makes the second."""
    command = "vedette train flows --seed 7"
    versions = [m["version"] for m in json.loads(reader.says("vedette models --json")) if m["name"] == "flows"]
    if len(versions) < 2:
        reader.says(command)
    return command
