"""The files in conf/: `python -m tests.unit.config.sample` writes them anew after the templates have changed."""

from pathlib import Path

from matrixd.config.generate import NewServer, homeserver_yaml, log_config

CONF = Path(__file__).parents[3] / "conf"
SERVER = NewServer(
    server_name="my.domain",
    config_path=Path("/etc/matrixd/homeserver.yaml"),
    data_directory=Path("/var/lib/matrixd"),
    config_directory=Path("/etc/matrixd"),
)
FILES = {
    CONF / "homeserver.yaml": homeserver_yaml(SERVER, "a secret that --generate-config makes"),
    CONF / "log.config": log_config(SERVER),
}

if __name__ == "__main__":
    for file, text in FILES.items():
        file.write_text(text, encoding="utf-8")
