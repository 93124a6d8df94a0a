"""Keys: only hashes are kept, only good ones open, changes count at once, and a public bind needs one."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tapeflow.api import keys as module
from tapeflow.api.keys import KeyFile, is_required, open_keys
from tapeflow.domain.errors import OutputError, SettingsError
from tapeflow.settings import ApiSettings


def test_a_token_opens_what_it_was_made_for_and_nothing_else_does(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path)
    token = keys.create("laptop", ["sql", "read"])
    other = keys.create("phone", ["read"])
    assert keys.verify(token) == {"read", "sql"}
    assert keys.verify(other) == {"read"}
    swapped = token[:12] + other[12:]
    for wrong in ("", "tf_", token[:-1], token + "x", token.upper(), swapped, "x" * 5000, "tf__", "\udcff"):
        assert keys.verify(wrong) is None


def test_the_file_holds_no_token_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    token = KeyFile(tmp_path).create("laptop", ["read"])
    content = (tmp_path / "keys.json").read_text()
    secret = token.split("_")[2]
    assert secret not in content
    assert token.split("_")[1] in content
    assert len(secret) >= 32
    if os.name == "posix":
        assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"keys.json", "keys.lock"}


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
def test_a_file_that_others_can_read_is_refused_and_opens_to_nobody(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path)
    token = keys.create("laptop", ["read"])
    keys.path.chmod(0o640)
    with pytest.raises(SettingsError, match=r"can be read by others \(mode 640\): chmod 600"):
        keys.ls()
    with pytest.raises(SettingsError, match="chmod 600"):
        keys.create("phone", ["read"])
    assert keys.verify(token) is None
    assert "chmod 600" in keys.problem
    keys.path.chmod(0o600)
    assert KeyFile(tmp_path).verify(token) == {"read"}


def test_a_damaged_file_is_named_and_opens_to_nobody(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path)
    token = keys.create("laptop", ["read"])
    keys.path.write_bytes(keys.path.read_bytes()[:-20])
    with pytest.raises(SettingsError, match="is damaged"):
        keys.ls()
    assert keys.verify(token) is None


def test_a_running_server_learns_of_a_change_by_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, command = KeyFile(tmp_path), KeyFile(tmp_path)
    assert server.verify("tf_a_b") is None
    token = command.create("laptop", ["read"])
    assert server.verify(token) is None  # it has looked within this second
    monkeypatch.setattr(module, "LOOK_S", 0.0)
    assert server.verify(token) == {"read"}
    command.revoke(token[:11])
    assert server.verify(token) is None


def test_an_expired_key_is_no_longer_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = KeyFile(tmp_path)
    token = keys.create("laptop", ["read"], 1_000_000)
    assert keys.verify(token) == {"read"}
    at = keys.ls()[0].created
    monkeypatch.setattr(module, "_now", lambda: at + 1_000_000)
    assert keys.verify(token) is None
    assert keys.is_empty


def test_what_cannot_be_made_or_revoked_says_what_can(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path)
    for scopes in ([], ["write"], ["read", "all"]):
        with pytest.raises(SettingsError, match="expected scopes of read, sql, admin, got"):
            keys.create("x", scopes)
    keys.create("laptop", ["read"])
    with pytest.raises(SettingsError, match=r"no key has the prefix 'zz'; there are: \w{8} \(laptop\)"):
        keys.revoke("zz")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another --data"):
        KeyFile(tmp_path / "file" / "below").create("x", ["read"])


@pytest.mark.slow
def test_keys_made_at_the_same_time_are_all_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapeflow.tape.lock._PATIENCE_S", 30.0)
    tokens: list[str] = []
    work = [threading.Thread(target=lambda: tokens.append(KeyFile(tmp_path).create("x", ["read"]))) for _ in range(8)]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    keys = KeyFile(tmp_path)
    assert len(tokens) == 8
    assert all(keys.verify(token) for token in tokens)


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("127.0.0.1", False), ("127.0.0.2", False), ("::1", False), ("localhost", False),
        ("0.0.0.0", True), ("::", True), ("192.168.1.5", True), ("my.host", True), ("", True),
    ],
)  # fmt: skip
def test_a_public_address_needs_a_key_at_the_start(tmp_path: Path, host: str, public: bool) -> None:
    api = ApiSettings(host=host)
    assert is_required(api) is public
    if not public:
        assert open_keys(tmp_path, api).is_empty
        return
    with pytest.raises(SettingsError, match=r"tapeflow key create.*or bind 127.0.0.1"):
        open_keys(tmp_path, api)
    KeyFile(tmp_path).create("x", ["read"])
    assert not open_keys(tmp_path, api).is_empty


def test_a_key_can_be_asked_for_on_loopback_too(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="require_key is set, and no key is in"):
        open_keys(tmp_path, ApiSettings(require_key=True))
