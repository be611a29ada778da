"""Options that are read and checked, but that nothing uses yet: an admin who sets some is told so, once.

Each part of matrixd that begins to use an option takes it out of here; a unit test compares this list with the code.
"""

from collections.abc import Mapping

from matrixd.config.options import Options

#: Fields of Config -> the options that they are read from. A section stands for all that is in it.
NOT_YET: Mapping[str, tuple[str, ...]] = {
    # what comes with further endpoints
    "ratelimits.third_party_invite": ("rc_third_party_invite",),
    "ratelimits.user_directory": ("rc_user_directory",),
    "ratelimits.reports": ("rc_reports",),
    "ratelimits.delayed_event_mgmt": ("rc_delayed_event_mgmt",),
    "media": ("enable_media_repo", "media_store_path", "max_upload_size"),
    "ratelimits.media_create": ("rc_media_create",),
    # other processes
    "appservices": ("app_service_config_files",),
    "workers": ("workers",),
}

#: Fields of Config for options that are there only so that files written for Synapse are good ones; see the manual.
FOR_OLD_FILES = frozenset({"server.report_stats", "database.allow_unsafe_locale"})


def warn(options: Options) -> None:
    """Notes the options of NOT_YET that the file sets."""
    found = dict.fromkeys(name for names in NOT_YET.values() for name in names if options.is_set(name))
    if found:
        options.findings.warnings.append(
            f"Options that are read and checked, but that nothing in this version uses yet: {', '.join(found)}"
        )
