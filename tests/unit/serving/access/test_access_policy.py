"""The policy: what its file may say, and what follows from it. The ids are the rules."""

from pathlib import Path

import pytest

from serving.access.credentials import Caller, PeerCertificate
from serving.access.policy import Binding, Globs, RateLimit, Rights, binding_of_claims
from serving.access.policy_file import AccessPolicyError, parse_policy, policy_warnings
from serving.access.verbs import Verb

TEXT = """
version: 1
roles:
  scorer: [{verbs: [infer, metadata], models: ["flows*", "blue-*", "red-*"]}]
  analyst: [{verbs: [infer, explain, risk]}]
  deployer: [{verbs: [repository, index, statistics, metrics]}]
tenants:
  blue: {models: ["blue-*"], entities: ["blue/*"]}
  red: {models: ["red-*"]}
shared_models: [flows]
issuers:
  - name: corp
    issuer: https://login.test/realms/soc
    audiences: [vedette]
    keys: keys.json
    tenant_claim: team
    callers:
      - {claims: {sub: "svc-*", groups: operators}, roles: [deployer]}
      - {claims: {sub: "svc-*"}, roles: [scorer]}
certificates:
  - {uri: "spiffe://prod/ns/soc/sa/*", roles: [scorer], tenant: blue, models: [blue-a]}
  - {dns: "*.soc.test", roles: [scorer]}
limits:
  caller: {requests_per_s: 10}
  address: {requests_per_s: 1}
  roles: {deployer: {requests_per_s: 99, rows_per_s: 5, burst_s: 1}}
"""
POLICY = parse_policy(TEXT, Path("/etc/vedette/access.yaml"))


def may(roles, verb, model=None, tenant="", models=("*",), policy=POLICY):
    return Rights(policy, Binding(frozenset(roles), tenant, Globs(models))).may(Verb(verb), model)


@pytest.mark.parametrize(
    ("allowed", "question"),
    [
        pytest.param(True, (["scorer"], "infer", "flows-2"), id="what a role grants is allowed"),
        pytest.param(False, (["scorer"], "infer", "Flows"), id="names are to the letter"),
        pytest.param(False, (["scorer"], "infer", "xflows"), id="a pattern is for the whole name"),
        pytest.param(False, (["scorer"], "infer", "flow\ns"), id="no line break slips through a pattern"),
        pytest.param(False, (["scorer"], "explain", "flows"), id="what no role grants is refused"),
        pytest.param(False, ([], "infer", "flows"), id="a caller without a role may nothing"),
        pytest.param(True, ([], "health"), id="but ask whether the server is well"),
        pytest.param(True, ([], "metrics"), id="and read metrics, unless the policy says otherwise"),
        pytest.param(False, (["nobody"], "infer", "flows"), id="a role that has left the policy grants nothing"),
        pytest.param(True, (["scorer"], "infer"), id="without a model: whether any may be asked"),
        pytest.param(True, (["scorer"], "infer", "blue-a", "blue"), id="a tenant's own model"),
        pytest.param(False, (["scorer"], "infer", "red-a", "blue"), id="another tenant's model"),
        pytest.param(True, (["scorer"], "infer", "flows", "blue"), id="a shared model"),
        pytest.param(False, (["deployer"], "repository", "flows", "blue"), id="nobody of a tenant loads a shared model"),
        pytest.param(True, (["deployer"], "repository", "blue-a", "blue"), id="but its own"),
        pytest.param(
            False, (["deployer"], "statistics", "flows", "blue"), id="statistics of a shared model speak of all tenants"
        ),
        pytest.param(True, (["analyst"], "risk", None, "blue"), id="risks, for a tenant that has entities"),
        pytest.param(False, (["analyst"], "risk", None, "red"), id="no risks for a tenant that has none"),
        pytest.param(False, (["scorer"], "infer", "flows", "green"), id="a tenant that has left the policy has no rights"),
        pytest.param(False, (["analyst"], "infer", "flows", "", ["red-*"]), id="a caller that is narrowed to some models"),
    ],
)
def test_what_is_allowed(allowed, question):
    assert may(*question) is allowed


def test_a_tenant_never_sees_the_metrics_of_all_where_metrics_are_not_open():
    policy = parse_policy(TEXT + "open: [health]\n", Path("p.yaml"))
    assert may(["deployer"], "metrics", policy=policy)
    assert not may(["deployer"], "metrics", tenant="blue", policy=policy)


def test_names_that_clients_choose_do_not_fill_the_memory():
    rights = Rights(POLICY, Binding(frozenset({"analyst"})))
    for n in range(5000):
        assert rights.may(Verb.INFER, f"m{n}")
    assert len(rights._decided) <= 1024


@pytest.mark.parametrize(
    ("claims", "roles", "tenant"),
    [
        pytest.param(
            {"sub": "svc-a", "groups": ["x", "operators"], "team": "blue"},
            {"deployer"},
            "blue",
            id="one of a list matches; the first entry counts",
        ),
        pytest.param({"sub": "svc-a", "groups": "users", "team": "red"}, {"scorer"}, "red", id="a later entry"),
        pytest.param({"sub": "ann", "team": "red"}, set(), "red", id="an issuer's token that no entry is about has no role"),
    ],
)
def test_claims_to_roles_and_tenant(claims, roles, tenant):
    binding = binding_of_claims(POLICY.issuers[0], claims)
    assert (set(binding.roles), binding.tenant) == (roles, tenant)


@pytest.mark.parametrize("team", [None, "", 7, ["blue"], "b" * 64])
def test_a_token_without_its_tenant_does_not_become_one_without_a_tenant(team):
    assert binding_of_claims(POLICY.issuers[0], {"sub": "svc-a", "team": team}) is None


def test_certificates_match_by_the_part_that_a_rule_names():
    first, second = POLICY.certificates
    peer = PeerCertificate("CN=spiffe://prod/ns/soc/sa/x", ("a.soc.test",), ("spiffe://prod/ns/soc/sa/soar",))
    assert first.name_in(peer) == "spiffe://prod/ns/soc/sa/soar"
    assert second.name_in(peer) == "a.soc.test"
    assert first.name_in(PeerCertificate("CN=spiffe://prod/ns/soc/sa/x")) == ""


def test_limits_are_the_role_s_or_the_caller_s_or_the_address_s():
    assert POLICY.limit_of(Caller("a", roles=frozenset({"deployer"}))) == RateLimit(99, 5, 1)
    assert POLICY.limit_of(Caller("a", roles=frozenset({"scorer"}))).requests_per_s == 10
    assert POLICY.limit_of(Caller()).requests_per_s == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("roles: {}", "version", id="no version"),
        pytest.param("version: 2", "version", id="a version of the future"),
        pytest.param("version: 1\nrolls: {}", "rolls", id="a misspelt name"),
        pytest.param("version: 1\nroles: {a: [{verbs: [infre]}]}", "verbs", id="a misspelt verb"),
        pytest.param("version: 1\nroles: {a: [{verbs: []}]}", "verbs", id="a grant of nothing"),
        pytest.param("version: 1\nopen: [infer]", "anonymous", id="inference that is open is said by a role"),
        pytest.param("version: 1\nanonymous: [a]", "no role a", id="a role that is not there"),
        pytest.param(
            "version: 1\nroles: {a: []}\ncertificates: [{dns: x, roles: [a], tenant: t}]",
            "tenant t",
            id="a tenant that is not there",
        ),
        pytest.param(
            "version: 1\nroles: {a: []}\ncertificates: [{roles: [a]}]", "one of uri", id="a certificate rule about everybody"
        ),
        pytest.param("version: 1\nroles: {a: []}\nroles: {b: []}", "twice", id="a name written twice"),
        pytest.param("version: 1\nissuers: [{name: x, issuer: i, audiences: [], callers: []}]", "audiences", id="any audience"),
        pytest.param(
            "version: 1\nissuers: [{name: x, issuer: 'https://i', audiences: [a], algorithms: [HS256], callers: []}]",
            "algorithms",
            id="a shared secret",
        ),
        pytest.param(
            "version: 1\nissuers: [{name: x, issuer: i, audiences: [a], keys: 'http://i.test/k', callers: []}]",
            "https",
            id="keys over an open line",
        ),
        pytest.param(
            "version: 1\nissuers: [{name: x, issuer: 'http://i.test', audiences: [a], callers: []}]",
            "https",
            id="discovery over an open line",
        ),
        pytest.param(
            "version: 1\nissuers: [{name: x, issuer: i, audiences: [a], keys: 'https://u:p@i.test/k', callers: []}]",
            "password",
            id="a password in a URL",
        ),
        pytest.param("- 1", "policy", id="a list"),
        pytest.param("version: 1\nroles: [" + "[" * 200, "YAML", id="nested without end"),
        pytest.param("version: 1\nlimits: {caller: {requests_per_s: -1}}", "requests_per_s", id="a limit below zero"),
        pytest.param("version: 1\nlimits: {caller: {requests_per_s: .inf}}", "requests_per_s", id="a limit without end"),
        pytest.param("!!python/object:os.system {}", "YAML", id="a Python object"),
    ],
)
def test_a_policy_is_refused_with(text, said):
    with pytest.raises(AccessPolicyError, match=r"p\.yaml: ") as refused:
        parse_policy(text, Path("p.yaml"))
    assert said in str(refused.value)
    assert "u:p@" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("tenants: {a: {models: [x]}}", "metrics are open", id="metrics that are open speak of all tenants"),
        pytest.param(
            "tenants: {a: {models: ['x*']}, b: {models: [xy]}}",
            "xy is a's and b's",
            id="a model of two tenants is not isolated",
        ),
        pytest.param("roles: {a: [{verbs: [repository]}]}\nanonymous: [a]", "to everybody", id="everybody may load models"),
        pytest.param("roles: {a: [{verbs: [infer]}]}", "nobody has a", id="a role that nobody has"),
    ],
)
def test_a_policy_is_warned_about(text, said):
    assert any(said in line for line in policy_warnings(parse_policy(f"version: 1\n{text}", Path("p.yaml"))))


def test_files_are_looked_for_beside_the_policy():
    assert POLICY.issuers[0].keys == "/etc/vedette/keys.json"
