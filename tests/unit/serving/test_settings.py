"""Settings that make no sense are refused before anything starts."""

import pytest
from pydantic_settings import DotEnvSettingsSource, SecretsSettingsSource

from operators.control.local_kafka import LocalKafkaSettings
from operators.handlers.settings import OperatorSettings
from serving.access.client_credentials import DoorCredentials
from serving.app import build
from serving.settings import ServingSettings


def test_two_doors_on_one_port_are_refused():
    """Replicas that share ports would both listen there, and the kernel would give each request to either."""
    with pytest.raises(ValueError, match="HTTP and gRPC have the same port 9000; give each its own"):
        ServingSettings(http_port=9000, grpc_port=9000)
    assert ServingSettings(http_port=0, grpc_port=0).http_port == 0, "any free ports are two"


@pytest.mark.parametrize("seconds", ["inf", "nan"])
def test_a_time_is_a_number(seconds):
    with pytest.raises(ValueError, match="default_deadline_s"):
        ServingSettings(default_deadline_s=seconds)


def test_an_argument_of_the_application_that_is_no_setting_is_refused():
    with pytest.raises(ValueError, match=r"no setting \['http_prot'\].*http_port"):
        build({"http_prot": "9000"})


@pytest.mark.parametrize("settings", [ServingSettings, DoorCredentials, OperatorSettings, LocalKafkaSettings])
def test_settings_come_from_the_environment_and_no_file_is_looked_for(settings, monkeypatch, tmp_path):
    def looked_for(source):
        raise AssertionError(f"{source} has nothing to read")

    for source in (DotEnvSettingsSource, SecretsSettingsSource):
        monkeypatch.setattr(source, "__call__", looked_for)
    settings()
    monkeypatch.setenv("VEDETTE_STORE_DIR", str(tmp_path))
    assert ServingSettings().store_dir == tmp_path
    assert ServingSettings(store_dir=tmp_path / "given").store_dir == tmp_path / "given"
