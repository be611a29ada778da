"""How a new session is answered, by login, registration and refresh alike."""

from matrixd.services.sessions import Session


def session_fields(session: Session) -> dict[str, object]:
    """The members of an answer that are secrets of a session; what does not apply is left out."""
    found: dict[str, object] = {"access_token": session.access_token}
    if session.refresh_token is not None:
        found["refresh_token"] = session.refresh_token
    if session.expires_in_ms is not None:
        found["expires_in_ms"] = session.expires_in_ms
    return found


def login_answer(session: Session, server_name: str) -> dict[str, object]:
    """The answer of a login."""
    return {
        "user_id": session.user_id,
        "device_id": session.device_id,
        "home_server": server_name,
        **session_fields(session),
    }
