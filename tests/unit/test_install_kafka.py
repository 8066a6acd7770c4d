"""`make services` gets Kafka, or says why there is none; either way it goes on."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "install_kafka.sh"
JAVA = "exit 0"
MAVEN = """
for word in "$@"; do case $word in -DoutputDirectory=*) folder=${word#*=};; esac; done
touch "$folder/kafka_2.13-$V.jar" "$folder/kafka-server-$V.jar"
"""


@pytest.fixture
def install(tmp_path):
    """Runs the script with programs of our own. The rest of the PATH is what the system has, without a package manager."""

    def run(*words: str, **programs: str) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        for name, text in {"apt-get": "exit 1", "sudo": "exit 1", **programs}.items():
            (folder / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
            (folder / name).chmod(0o755)
        for name in ("sh", "sed", "dirname", "mkdir", "mktemp", "chmod", "mv", "rm", "grep", "id", "touch"):
            if not (folder / name).exists():
                (folder / name).symlink_to(_where(name))
        environment = {"PATH": str(folder), "HOME": str(tmp_path), "V": _version()}
        return subprocess.run(["sh", SCRIPT, *words], env=environment, capture_output=True, text=True, timeout=60, check=False)

    return run


def _where(name: str) -> str:
    return subprocess.check_output(["sh", "-c", f"command -v {name}"], text=True).strip()


def _version() -> str:
    pom = (SCRIPT.parent / "tools" / "kafka" / "pom.xml").read_text(encoding="utf-8")
    return pom.partition("<kafka.version>")[2].partition("<")[0]


def test_the_jars_are_put_where_the_tests_look(install, tmp_path):
    done = install(java=JAVA, mvn=MAVEN)
    folder = tmp_path / ".cache" / "vedette" / f"kafka-{_version()}"
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, str(folder), "")
    assert sorted(path.name for path in folder.iterdir()) == [f"kafka-server-{_version()}.jar", f"kafka_2.13-{_version()}.jar"]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "nothing is left beside it"
    assert install("--where").stdout.strip() == str(folder)


def test_what_is_there_is_not_asked_for_again(install):
    install(java=JAVA, mvn=MAVEN)
    assert install(java=JAVA, mvn="exit 1").returncode == 0


@pytest.mark.parametrize(
    ("programs", "said"),
    [
        pytest.param({}, "kafka: no Java, and openjdk-17-jre-headless could not be installed", id="no Java"),
        pytest.param({"java": JAVA}, "kafka: no Maven, and it could not be installed", id="no Maven"),
        pytest.param({"java": JAVA, "mvn": "echo '[ERROR] no network'; exit 1"}, "[ERROR] no network", id="no network"),
    ],
)
def test_a_machine_without_it_is_told_why_and_goes_on(install, programs, said):
    done = install(**programs)
    assert (done.returncode, done.stdout) == (0, "")
    assert said in done.stderr
    assert done.stderr.endswith("the tests that need Kafka are skipped\n")
