"""What single sections accept, refuse and conclude."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.config.memory import MIB, default_budget
from matrixd.config.server import guessed_url
from matrixd.config.server_name import refusal
from matrixd.core.identifiers import is_server_name

from .conftest import Complainer, Loader


@pytest.mark.parametrize(
    "name",
    ["example.com", "example.com:8448", "1.2.3.4", "1.2.3.4:1", "[1234:5678::abcd]", "[::1]:8448", "localhost", "a-b"],
)
def test_server_names(name: str) -> None:
    assert refusal(name) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Example.com", "has upper-case letters"),
        ("https://example.com", "is a URL, not a server name"),
        ("example.com:", "has a port that is not 1 to 65535"),
        ("example.com:99999", "has a port that is not 1 to 65535"),
        ("example.com:1:2", "has a port that is not 1 to 65535"),
        ("1.2.3.256", "is not an IPv4 address"),
        ("[::g]", "is not an IPv6 address in brackets"),
        ("[fe80::1%eth0]", "is not an IPv6 address in brackets"),
        ("exa mple.com", "is not a host name: letters, digits, hyphens and dots between them are allowed"),
        ("example..com", "is not a host name: letters, digits, hyphens and dots between them are allowed"),
        ("", "is not a host name: letters, digits, hyphens and dots between them are allowed"),
        ("exämple.com", "is not a host name: letters, digits, hyphens and dots between them are allowed"),
        ("a" * 231, "is longer than 230 characters"),
    ],
)
def test_no_server_names(name: str, reason: str) -> None:
    assert refusal(name) == reason


@settings(max_examples=150)
@given(
    st.from_regex(
        r"(\[[0-9a-f:.]{0,20}\]|[A-Za-z0-9.-]{0,12}|[0-9]{1,3}(\.[0-9]{1,3}){3})(:[0-9]{0,6})?", fullmatch=True
    )
)
def test_what_is_taken_for_a_server_name_is_one(name: str) -> None:
    if refusal(name) is None:
        assert is_server_name(name)


def test_other_servers_may_have_names_that_we_would_not_choose(load_text: Loader, faults: Complainer) -> None:
    config = load_text("federation_domain_whitelist: [Example.com, 1.2.3.4]\n")
    assert config.federation.partners is not None
    assert config.federation.partners.allowed == frozenset({"Example.com", "1.2.3.4"})
    assert faults("federation_domain_whitelist: ['https://a.example']\n") == [
        "2 federation_domain_whitelist[0]: is `https://a.example`, which is no server name."
    ]


@pytest.mark.parametrize(
    ("lines", "talked_to", "not_talked_to"),
    [
        ("federation_domain_whitelist: [a.example]", ["a.example"], ["b.example", "a.example:8449"]),
        ("federation_domain_whitelist: []", [], ["a.example"]),
        ("federation_domain_denylist: [a.example]", ["b.example"], ["a.example", "a.example:8449"]),
        ("federation_domain_denylist: ['*.bad.example']", ["bad.example"], ["x.BAD.example"]),
        ("federation_domain_whitelist: [a.example]\nfederation_domain_denylist: [a.example]", [], ["a.example"]),
    ],
)
def test_whom_to_talk_to(load_text: Loader, lines: str, talked_to: list[str], not_talked_to: list[str]) -> None:
    partners = load_text(lines + "\n").federation.partners
    assert partners is not None
    assert [server for server in (*talked_to, *not_talked_to) if server in partners] == talked_to
    assert load_text("").federation.partners is None


def test_listeners_that_others_reach_need_a_decision(faults: Complainer, load_text: Loader) -> None:
    assert faults("listeners:\n- {port: 8008, bind_addresses: [192.0.2.1]}\n") == [
        "3 listeners[0].x_forwarded: is missing, and other machines can reach the listener."
    ]
    assert faults("listeners:\n- {port: 8008, x_forwarded: true}\n") == [
        "3 listeners[0].trusted_proxies: is missing: anyone who can reach the port could claim any address."
    ]
    assert load_text("listeners: [{port: 8008, x_forwarded: false}]\n").listeners[0].bind_addresses == ("::", "0.0.0.0")
    (listener,) = load_text(
        "listeners: [{port: 8008, x_forwarded: true, trusted_proxies: [172.16.0.0/12]}]\n"
    ).listeners
    assert ip_address("172.17.0.1") in listener.trusted_proxies[0]


def test_local_listeners_trust_this_machine(load_text: Loader) -> None:
    (listener,) = load_text(
        "listeners: [{port: 1, bind_addresses: [localhost, '::1', 127.0.0.9], x_forwarded: true}]\n"
    ).listeners
    assert any(ip_address("127.0.0.1") in proxies for proxies in listener.trusted_proxies)


def test_resources_imply_others(load_text: Loader) -> None:
    (listener,) = load_text(
        "listeners: [{port: 1, bind_addresses: ['::1'], resources: [{names: [federation]}]}]\n"
    ).listeners
    assert listener.resources == {"federation", "media", "keys", "openid", "health"}


def test_unix_sockets(load_text: Loader, directory: Path) -> None:
    (listener,) = load_text("listeners: [{path: a.sock, mode: '660'}]\n").listeners
    assert (listener.port, listener.path, listener.mode) == (None, directory / "a.sock", 0o660)
    assert listener.is_local
    assert listener.x_forwarded


def test_listeners_that_clash(faults: Complainer) -> None:
    text = "listeners:\n- {port: 1, bind_addresses: ['::1']}\n- {port: 1, bind_addresses: ['::1']}\n"
    assert faults(text) == ["3 listeners: names ::1 port 1 2 times."]
    assert faults("listeners: [{bind_addresses: ['::1']}]\n") == ["2 listeners[0].port: is missing."]
    assert faults("listeners: [{port: 1, path: /x, bind_addresses: ['::1']}]\n") == [
        "2 listeners[0].path: stands beside `port`."
    ]
    assert faults("listeners: []\n")[0].startswith("2 listeners: is empty")
    assert faults("listeners: [5, {port: 1, type: manhole, bind_addresses: ['::1']}]\n") == [
        "2 listeners[0]: is a whole number, not a section.",
        "2 listeners[1].type: is `manhole`.",
    ]


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("[{port: 8008, x_forwarded: false}]", "http://localhost:8008"),
        ("[{port: 1, bind_addresses: ['::1']}]", "http://[::1]:1"),
        ("[{port: 1, bind_addresses: ['127.0.0.2']}]", "http://127.0.0.2:1"),
        ("[{port: 1, bind_addresses: ['127.0.0.1', '::1']}]", "http://localhost:1"),
        ("[{path: /x.sock}]", None),
        ("[{port: 1, type: metrics}, {port: 2, bind_address: localhost}]", "http://localhost:2"),
    ],
)
def test_where_tools_find_the_server(load_text: Loader, text: str, url: str | None) -> None:
    assert guessed_url(load_text(f"listeners: {text}\n").listeners) == url


def certificate(directory: Path, name: str, days: int) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test.example")])
    end = datetime.now(UTC) + timedelta(days=days)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(end - timedelta(days=90))
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    (directory / f"{name}.crt").write_bytes(made.public_bytes(Encoding.PEM))
    (directory / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def tls(cert: str, key: str) -> str:
    listener = "listeners: [{port: 8448, tls: true, bind_address: '::1'}]\n"
    return f"{listener}tls_certificate_path: {cert}\ntls_private_key_path: {key}\n"


def test_certificates(directory: Path, load_text: Loader, faults: Complainer) -> None:
    certificate(directory, "good", 30)
    certificate(directory, "old", -1)
    (directory / "no.crt").write_text("x")
    assert load_text(tls("good.crt", "good.key")).tls.certificate_path == directory / "good.crt"
    assert faults(tls("good.crt", "old.key")) == ["4 tls_private_key_path: does not belong to the certificate."]
    assert faults(tls("old.crt", "old.key"))[0].startswith("3 tls_certificate_path: has a certificate that ended on ")
    assert faults(tls("no.crt", "no.crt")) == [
        f"3 tls_certificate_path: {directory}/no.crt holds no PEM certificate.",
        f"4 tls_private_key_path: {directory}/no.crt holds no usable PEM key.",
    ]
    assert faults(tls("none.crt", "good.key")) == [
        f"3 tls_certificate_path: {directory}/none.crt cannot be read: No such file or directory."
    ]
    assert faults("listeners: [{port: 8448, tls: true, bind_address: '::1'}]\n") == [
        "1 tls_certificate_path: is missing, and a listener has `tls: true`.",
        "1 tls_private_key_path: is missing, and a listener has `tls: true`.",
    ]


def test_certificates_are_not_read_when_no_listener_needs_them(load_text: Loader) -> None:
    assert load_text("tls_certificate_path: none.crt\n").tls.private_key_path is None


def test_databases(faults: Complainer, directory: Path) -> None:
    assert faults("database: {name: mysql}\n") == [
        "2 database.name: is `mysql`.",
        "2 database.args.database: is missing.",
    ]
    assert faults("database: {args: {database: ':memory:'}}\n") == [
        "2 database.args.database: is in memory: everything would be lost at the end."
    ]
    assert faults("database: {args: {database: none/homeserver.db}}\n") == [
        f"2 database.args.database: is in {directory}/none, which is no directory."
    ]
    assert faults("database: {name: psycopg2, args: {usr: x, dbname: y}}\n") == [
        "2 database.args.usr: is no connection option of PostgreSQL."
    ]


def test_signing_keys(directory: Path, load_text: Loader, faults: Complainer) -> None:
    config = load_text("")
    assert config.keys.signing_keys[0].version.startswith("a_")
    assert faults("signing_key_path: none.key\n") == [
        f"2 signing_key_path: {directory}/none.key cannot be read: No such file or directory."
    ]
    for content, reason in (
        ("rubbish", "is not a signing key."),
        ("ed25519 a AAAA", "is not a signing key."),
        ("", "is empty."),
    ):
        (directory / "bad.key").write_text(content)
        assert faults("signing_key_path: bad.key\n") == [f"2 signing_key_path: {directory}/bad.key {reason}"]


def test_a_signing_key_that_others_can_read_is_only_warned_of(directory: Path, load_text: Loader) -> None:
    key = directory / "test.example.signing.key"
    key.chmod(0o644)
    assert load_text("").warnings == (f"Others can read the signing key: run `chmod 600 {key}`.",)


def test_old_signing_keys(load_text: Loader, faults: Complainer) -> None:
    public = "VXuGitF39UH5iRfvbIknlvlAVKgD1BsLDMvBf0pmp7c"
    (old,) = load_text(f"old_signing_keys: {{'ed25519:a': {{key: {public}, expired_ts: 5}}}}\n").keys.old_signing_keys
    assert (old.key_id, old.key, old.expired_ts) == ("ed25519:a", public, 5)
    assert faults("old_signing_keys: {'ed25519:a': {key: short, expired_ts: 5}, 'ed25519:b': {key: x}}\n") == [
        "2 old_signing_keys.ed25519:a: is not an Ed25519 public key.",
        "2 old_signing_keys.ed25519:b: has no `expired_ts`.",
    ]


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("", "closed"),
        ("registration_requires_token: true\n", "closed"),
        ("enable_registration: true\nregistration_requires_token: true\n", "token"),
        ("enable_registration: true\nenable_registration_without_verification: true\n", "open"),
    ],
)
def test_who_may_register(load_text: Loader, text: str, mode: str) -> None:
    assert load_text(text).registration.mode == mode


def test_the_shared_secret_may_stand_in_a_file(directory: Path, load_text: Loader, faults: Complainer) -> None:
    (directory / "secret").write_text("s3cret\n")
    assert load_text("registration_shared_secret_path: secret\n").registration.shared_secret == "s3cret"
    (directory / "empty").write_text("")
    assert faults("registration_shared_secret_path: empty\n") == [
        f"2 registration_shared_secret_path: {directory}/empty is empty."
    ]
    assert faults("registration_shared_secret_path: secret\nregistration_shared_secret: a\n") == [
        "2 registration_shared_secret_path: stands beside `registration_shared_secret`."
    ]


def test_rate_limits(load_text: Loader) -> None:
    limits = load_text(
        "rc_message: {per_second: 5, burst_count: 50}\nrc_login: {failed_attempts: {per_second: 1}}\n"
        "rc_invites: {per_issuer: {burst_count: 0.5}}\nrc_federation: {concurrent: 9}\n"
    ).ratelimits
    assert (limits.message.per_second, limits.message.burst_count) == (5, 50)
    assert limits.admin_redaction == limits.message
    assert (limits.login_failed_attempts.per_second, limits.login_failed_attempts.burst_count) == (1, 3)
    assert limits.invites_per_issuer.burst_count == 0.5
    assert limits.federation.concurrent == 9


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("", "local"),
        ("presence: {enabled: true}\n", "all"),
        ("presence: {enabled: false}\n", "off"),
        ("presence: {mode: off}\n", "off"),
        ("presence: {enabled: true, mode: local}\n", "local"),
    ],
)
def test_presence(load_text: Loader, text: str, mode: str) -> None:
    assert load_text(text).presence.mode == mode


def test_rooms(load_text: Loader, faults: Complainer) -> None:
    assert load_text("default_room_version: 10\n").rooms.default_room_version == "10"
    assert faults("default_room_version: 13\n") == ["2 default_room_version: is `13`."]
    (rule,) = load_text(
        "room_list_publication_rules: [{user_id: '@a:*', action: deny}]\n"
    ).rooms.room_list_publication_rules
    assert (rule.user_id, rule.alias, rule.action) == ("@a:*", "*", "deny")


def test_turn_needs_credentials(faults: Complainer) -> None:
    assert faults("turn_uris: [turn:a.example]\n") == [
        "2 turn_uris: names a TURN server, but clients would get no credentials for it."
    ]


def test_addresses_that_may_not_be_connected_to(load_text: Loader) -> None:
    def denies(text: str, address: str) -> bool:
        return any(ip_address(address) in net for net in load_text(text).federation.addresses.denied)

    assert denies("", "10.1.2.3")
    assert not denies("ip_range_blacklist: []\n", "10.1.2.3")
    assert denies("ip_range_blacklist: []\n", "0.0.0.0")
    assert denies("federation_ip_range_blacklist: [203.0.113.0/24]\n", "203.0.113.9")


REGISTRATION = """\
id: irc
url: http://localhost:9000
as_token: a
hs_token: b
sender_localpart: irc_bot
namespaces: {users: [{exclusive: true, regex: "@irc_.*"}], rooms: [], aliases: []}
"""


def test_application_services(directory: Path, load_text: Loader, faults: Complainer) -> None:
    (directory / "irc.yaml").write_text(REGISTRATION)
    (service,) = load_text("app_service_config_files: [irc.yaml]\n").appservices
    assert (service.id, service.url, service.users[0].exclusive) == ("irc", "http://localhost:9000", True)
    assert "hs_token" not in repr(service)
    (directory / "bad.yaml").write_text(REGISTRATION.replace("hs_token: b\n", "").replace("@irc_.*", "("))
    assert [fault.split(":")[0] for fault in faults("app_service_config_files: [bad.yaml]\n")] == [
        "1 hs_token",
        "5 namespaces.users[0].regex",
    ]
    assert "same `id`" in faults("app_service_config_files: [irc.yaml, irc.yaml]\n")[0]


def test_log_configurations(directory: Path, load_text: Loader, faults: Complainer) -> None:
    (directory / "log.config").write_text(
        "version: 1\nhandlers: {file: {class: logging.FileHandler, filename: a.log}}\n"
    )
    handlers = load_text("log_config: log.config\n").logging.dict_config["handlers"]
    assert handlers["file"]["filename"] == str(directory / "a.log")
    (directory / "log.config").write_text("handlers: {}\n")
    assert faults("log_config: log.config\n") == ["1 version: is not 1."]


def test_the_memory_budget_follows_the_container(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(f"{1024 * MIB}\n")
    assert default_budget(tmp_path / "memory.max") == 128 * MIB
    (tmp_path / "memory.max").write_text(f"{100 * MIB}\n")
    assert default_budget(tmp_path / "memory.max") == 32 * MIB
    assert 32 * MIB <= default_budget(tmp_path / "none") <= 1024 * MIB


def test_workers_are_read_and_said_to_be_unused(load_text: Loader, faults: Complainer) -> None:
    config = load_text("workers: {sync1: {type: sync, listeners: [{port: 1, bind_address: '::1'}]}}\n")
    assert (config.workers[0].name, config.workers[0].kind) == ("sync1", "sync")
    (warning,) = config.warnings
    assert warning.endswith("nothing in this version uses yet: workers")
    assert faults("workers: {a: {type: magic}, b: 5}\n") == [
        "2 workers.a.type: is `magic`.",
        "2 workers.b: is a whole number, not a section.",
        "2 workers.b.type: is missing.",
    ]
