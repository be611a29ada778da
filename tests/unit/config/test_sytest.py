"""What Sytest's plug-in writes for the server must load: options that are not ours may only warn."""

import json
from pathlib import Path

from matrixd.config import load
from matrixd.config.generate import write_signing_key

from .test_sections import certificate

UNLIMITED = {"per_second": 10000, "burst_count": 10000}


def test_sytests_configuration_starts(tmp_path: Path) -> None:
    certificate(tmp_path, "tls", 30)
    (tmp_path / "ca.crt").write_bytes((tmp_path / "tls.crt").read_bytes())
    write_signing_key(tmp_path / "signing.key")
    (tmp_path / "signing.key").chmod(0o644)
    options = {
        "server_name": "localhost:8800",
        "public_baseurl": "https://localhost:8800/",
        "report_stats": False,
        "pid_file": f"{tmp_path}/homeserver.pid",
        "listeners": [
            {
                "type": "http",
                "port": 8800,
                "bind_addresses": ["localhost"],
                "tls": True,
                "resources": [{"names": ["client", "federation"]}],
            }
        ],
        "tls_certificate_path": f"{tmp_path}/tls.crt",
        "tls_private_key_path": f"{tmp_path}/tls.key",
        "database": {"name": "sqlite3", "args": {"database": f"{tmp_path}/homeserver.db"}},
        "signing_key_path": f"{tmp_path}/signing.key",
        "macaroon_secret_key": "macaroon_8800",
        "form_secret": "form_8800",
        "registration_shared_secret": "reg_secret",
        "trusted_key_servers": [],
        "bcrypt_rounds": 4,
        "federation_custom_ca_list": [f"{tmp_path}/ca.crt"],
        "use_insecure_ssl_client_just_for_testing_do_not_use": True,
        "ip_range_blacklist": [],
        "federation_ip_range_blacklist": [],
        "url_preview_ip_range_blacklist": [],
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "allow_guest_access": True,
        "allow_public_rooms_over_federation": True,
        "allow_public_rooms_without_auth": True,
        "room_list_publication_rules": [{"action": "allow"}],
        "require_membership_for_aliases": False,
        "enable_ephemeral_messages": True,
        "caches": {"sync_response_cache_duration": 0},
        "enable_media_repo": True,
        "media_store_path": f"{tmp_path}/media_store",
        "url_preview_enabled": True,
        "rc_message": UNLIMITED,
        "rc_registration": UNLIMITED,
        "rc_admin_redaction": UNLIMITED,
        "rc_room_creation": UNLIMITED,
        "rc_3pid_validation": UNLIMITED,
        "rc_delayed_event_mgmt": UNLIMITED,
        "rc_login": dict.fromkeys(("address", "account", "failed_attempts"), UNLIMITED),
        "rc_joins": dict.fromkeys(("local", "remote"), UNLIMITED),
        "rc_invites": dict.fromkeys(("per_room", "per_user", "per_issuer"), UNLIMITED),
        "rc_presence": {"per_user": UNLIMITED},
        "rc_federation": {
            "window_size": 1000,
            "sleep_limit": 10000,
            "sleep_delay": 1,
            "reject_limit": 10000,
            "concurrent": 100,
        },
        "recaptcha_siteverify_api": "http://localhost:1/",
        "recaptcha_public_key": "a",
        "recaptcha_private_key": "b",
        "email": {"smtp_host": "localhost", "smtp_port": 2525, "notif_from": "matrixd@localhost"},
        "cas_config": {"enabled": True, "server_url": "http://localhost:1/cas"},
    }
    path = tmp_path / "homeserver.yaml"
    path.write_text(json.dumps(options))
    config = load([path])
    assert config.keys.trusted_key_servers == ()
    assert config.federation.verify_certificates is False
    assert config.ratelimits.joins_remote.per_second == 10000
    key_warning, not_yet, synapse_warning = config.warnings
    assert "chmod 600" in key_warning
    assert "rc_delayed_event_mgmt" in not_yet
    assert "macaroon_secret_key" in synapse_warning
