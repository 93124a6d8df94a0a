"""What the settings of a run say to Flink."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tapeflow.app.jobs import flink_spec, java_client
from tapeflow.domain.errors import SettingsError, StackError
from tapeflow.settings import load_run

RUN = """
symbols = ["BTCUSDT"]

[bus]
bootstrap = "127.0.0.1:1"
prefix = "p."
topics = { candles = "my_candles" }
partitions = 6

[flow]
name = "mine"
horizon = "30m"
[flow.candles]
intervals = ["1s", "1m"]
indicators = ["rsi_14"]
"""


def spec(tmp_path: Path, more: str = ""):  # type: ignore[no-untyped-def]
    (tmp_path / "run.toml").write_text(RUN + more, "utf-8")
    return flink_spec(load_run(tmp_path / "run.toml"))


def test_a_run_file_becomes_a_job(tmp_path: Path) -> None:
    made = spec(tmp_path)
    assert made.name == "tapeflow-p.mine"
    assert (made.source, dict(made.topics)) == ("p.trades", {"candles": "my_candles", "indicators": "p.indicators"})
    assert (made.parallelism, made.checkpoint_ms, made.latency_ms) == (6, 10_000, 500)
    assert made.folds.horizon_us == 30 * 60 * 10**6


def test_the_table_flink_says_how_it_runs(tmp_path: Path) -> None:
    told = '[flink]\nparallelism = 2\ncheckpoint = "1s"\nguarantee = "at_least_once"\nbrokers = "kafka:9092"\n'
    made = spec(tmp_path, told)
    assert (made.parallelism, made.checkpoint_ms, made.guarantee) == (2, 1000, "at_least_once")
    assert made.bootstrap == "kafka:9092"


def test_a_span_that_is_none_is_said_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\[flink\] outage"):
        spec(tmp_path, '[flink]\noutage = "soon"\n')


def test_a_run_without_a_bus_cannot_be_submitted(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('symbols = ["BTCUSDT"]\n', "utf-8")
    with pytest.raises(SettingsError, match=r"\[bus\]"):
        flink_spec(load_run(tmp_path / "run.toml"))


def test_our_names_of_the_clients_properties_become_javas(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("a certificate")
    ours = {
        "security.protocol": "sasl_ssl",
        "sasl.mechanisms": "PLAIN",
        "sasl.username": "me",
        "sasl.password": 'a"b\\c',
        "ssl.ca.location": str(tmp_path / "ca.pem"),
        "ssl.endpoint.identification.algorithm": "none",
        "client.id": "mine",
    }
    assert java_client(ours) == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.jaas.config": "org.apache.flink.kafka.shaded.org.apache.kafka.common.security.plain.PlainLoginModule "
        'required username="me" password="a\\"b\\\\c";',
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": "a certificate",
        "ssl.endpoint.identification.algorithm": "",
        "client.id": "mine",
    }
    scram = java_client({"sasl.mechanisms": "SCRAM-SHA-512", "sasl.username": "u", "sasl.password": "p"})
    assert "scram.ScramLoginModule" in scram["sasl.jaas.config"]
    assert java_client({"ssl.ca.location": "probe", "ssl.keystore.location": "k.p12"}) == {
        "ssl.keystore.location": "k.p12", "ssl.keystore.type": "PKCS12"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("client", "said"),
    [
        ({"ssl.key.location": "k.pem"}, "one PKCS#12 file"),
        ({"ssl.ca.location": "nowhere.pem"}, "expected a file of PEM, got nowhere.pem"),
        ({"sasl.mechanisms": "GSSAPI", "sasl.username": "u"}, "expected PLAIN or SCRAM-SHA-256"),
        ({"enable.ssl.certificate.verification": "false"}, "always verifies"),
    ],
)
def test_what_flinks_client_cannot_be_told_is_refused(client: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        java_client(client)


def test_what_submit_lacks_is_said_before_anything_is_fetched(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(RUN)
    command = [sys.executable, "-m", "tapeflow", "submit", str(config), "--cache", str(tmp_path / "cache")]
    done = subprocess.run(
        [*command, "--address", "127.0.0.1:9"], capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == StackError.exit_code, done.stderr
    assert "nothing was submitted" in done.stderr
    assert "mvn: there is none" in done.stderr
    assert "java" in done.stderr
    assert not (tmp_path / "cache").exists()
