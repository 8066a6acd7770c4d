"""`vedette sinks show`: an example alert in each form, and an example of sinks.yaml."""

import importlib.metadata
import json
from typing import Final

from serving.sinks.forms.bulk import bulk_item
from serving.sinks.forms.example import example
from serving.sinks.forms.options import FormOptions
from serving.sinks.forms.signature import sign, webhook_id
from serving.sinks.forms.splunk import splunk
from serving.sinks.forms.syslog import syslog
from serving.sinks.opening import document, message

CONFIG: Final = """\
spool_dir: /var/lib/vedette/sinks   # on a disk that survives the process
source:
  servers: kafka:9092
  topic: vedette.alerts
  group: vedette-sinks
sinks:
- name: siem                        # names it in metrics, logs and files
  to: {type: syslog, host: siem.example.com, port: 6514, tls: {ca: /etc/vedette-sinks/ca.pem}}
  form: cef
- name: splunk
  to: {type: splunk, url: "https://splunk.example.com:8088", token: {file: /etc/vedette-sinks/splunk-token}, index: soc}
  form: ocsf
  group_s: 300                      # of a group the first alert at once, the others of five minutes as one
- name: elastic
  to: {type: elasticsearch, url: "https://elastic.example.com:9200", api_key: {file: /etc/vedette-sinks/elastic-key}}
  form: ecs
  throttle: {per_second: 200, burst: 1000, group_per_minute: 60}
- name: soar
  to: {type: webhook, url: "https://soar.example.com/alerts", secret: {file: /etc/vedette-sinks/soar-secret}}
  min_severity: high
  spool: {most_bytes: 268435456, when_full: drop_oldest}
"""
SHOWN: Final = ("ocsf", "ecs", "cef", "plain", "syslog", "splunk", "elasticsearch", "webhook", "config")


def shown(name: str) -> str:
    """The example as text."""
    alert, options = example(), FormOptions(version=importlib.metadata.version("vedette"), hostname="collector-1")
    match name:
        case "config":
            return CONFIG.rstrip()
        case "cef":
            return message("cef", alert, options).decode()
        case "syslog":
            return syslog(alert, message("cef", alert, options), options).decode()
        case "splunk":
            return _indented(splunk(alert, document("ocsf", alert, options), options))
        case "elasticsearch":
            return bulk_item(alert, document("ecs", alert, options), options).decode().rstrip()
        case "webhook":
            body = message("plain", alert, options)
            headers = {"content-type": "application/json", "idempotency-key": alert.id}
            headers |= sign([b"an example of a secret"], webhook_id(alert), alert.scored_us // 1_000_000, body)
            return "\n".join([*(f"{name}: {value}" for name, value in headers.items()), "", body.decode()])
        case "ocsf" | "ecs" | "plain" as form:
            return _indented(document(form, alert, options))
        case _:
            raise ValueError(name)


def _indented(value: object) -> str:
    return json.dumps(value, indent=2)
