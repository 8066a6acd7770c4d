"""What a webhook configuration must say, as k8s.io/kubernetes/pkg/apis/admissionregistration/validation asks it."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.fakes.apiserver.failures import Cause, required, unsupported, wrong

SIDE_EFFECTS = ("None", "NoneOnDryRun")
POLICIES = ("Fail", "Ignore")


def findings(configuration: Mapping[str, Any]) -> list[Cause]:
    """What is wrong with a configuration; empty means that it is accepted."""
    return [
        cause for index, hook in enumerate(configuration.get("webhooks") or ()) for cause in _hook(hook, f"webhooks[{index}]")
    ]


def _hook(hook: Mapping[str, Any], at: str) -> Iterator[Cause]:
    if len(str(hook.get("name", "")).split(".")) < 3:
        yield wrong(f"{at}.name", hook.get("name", ""), "should be a domain with at least three segments separated by dots")
    if not hook.get("admissionReviewVersions"):
        yield required(f"{at}.admissionReviewVersions", "must specify one of v1, v1beta1")
    elif not {"v1", "v1beta1"} & set(hook["admissionReviewVersions"]):
        yield wrong(
            f"{at}.admissionReviewVersions", list(hook["admissionReviewVersions"]), "must include at least one of v1, v1beta1"
        )
    if hook.get("sideEffects") not in SIDE_EFFECTS:
        yield unsupported(f"{at}.sideEffects", hook.get("sideEffects", ""), SIDE_EFFECTS)
    if hook.get("failurePolicy") not in POLICIES:
        yield unsupported(f"{at}.failurePolicy", hook.get("failurePolicy"), POLICIES)
    if not 1 <= hook.get("timeoutSeconds", 10) <= 30:
        yield wrong(f"{at}.timeoutSeconds", hook["timeoutSeconds"], "the timeout value must be between 1 and 30 seconds")
    client = hook.get("clientConfig") or {}
    if bool(client.get("url")) == bool(client.get("service")):
        yield required(f"{at}.clientConfig", "exactly one of url or service is required")
    elif client.get("url") and not str(client["url"]).startswith("https://"):
        yield wrong(f"{at}.clientConfig.url", client["url"], "'https' is the only allowed URL scheme")
    for number, rule in enumerate(hook.get("rules") or ()):
        for name in ("operations", "apiGroups", "apiVersions", "resources"):
            if not rule.get(name):
                yield required(f"{at}.rules[{number}].{name}")
